"""How sparse may a U-Net be before it loses the outline of its object? Certified on generated shapes.

    python studies/segmentation.py

A U-Net is trained on pictures of shapes, its smallest weights are removed at once at a path of sparsities, without
training afterwards, and the means of 1 - IoU and of missed pixels are certified by several bounds. About one minute of
one core.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from prudent.batches import Batches
from prudent.building import build
from prudent.certification import certify
from prudent.data.shapes import shapes
from prudent.errors import BadInput
from prudent.network import evaluating, fingerprint
from prudent.pruning import prune
from prudent.segmentation import MaskLoss, mask_losses
from prudent.splits import Data, Examples
from prudent.types import Losses

PATH = (0.0, 0.1, 0.2, 0.3, 0.4, *(round(0.5 + i / 100, 2) for i in range(21)))
"""Chosen, like the claims, by a run on other pictures (seed 0), so that it is fixed before those of seed 1 are seen."""

BOUNDS = ("hoeffding", "hoeffding_bentkus", "hockey_stick", "betting")
CLAIMS: tuple[tuple[MaskLoss, float], ...] = (("missed_overlap", 0.15), ("missed_pixels", 0.1))
DELTA = 0.05


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one bound certifies of one claim.

    Args:
        loss: what is lost.
        alpha: tolerated risk, in (0, 1).
        bound: name of the p-value.
        sparsity: of the sparsest certified network, None if there is none.
        certification_risk, test_risk: its mean loss on either split, in [0, 1].
    """

    loss: MaskLoss
    alpha: float
    bound: str
    sparsity: float | None
    certification_risk: float | None
    test_risk: float | None


def fit(model: nn.Module, examples: Examples, *, epochs: int, seed: int, lr: float = 0.01, size: int = 32) -> None:
    """Train the network in place: mean binary cross-entropy of each pixel, Adam, learning rate falling to 0."""
    if examples.masks is None:
        raise BadInput("training a network on pixels needs examples with masks")
    masks = torch.from_numpy(examples.masks.astype(np.int64))
    # one batch holds indices of the examples, so that pictures and masks are shuffled alike
    order = Batches(inputs=torch.arange(len(examples)), size=size, split="train")
    inputs = torch.from_numpy(examples.inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(order))
    model.train()
    for epoch in range(epochs):
        for some in order.shuffled(seed=seed, epoch=epoch):
            loss = binary_cross_entropy_with_logits(model(inputs[some])[:, 0], masks[some].float())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def marked(model: nn.Module, examples: Examples) -> np.ndarray:
    """The pixels that the network takes for the object's, (n, height, width) bool."""
    with torch.inference_mode(), evaluating(model):
        answers = [model(torch.from_numpy(part))[:, 0] > 0 for part in np.array_split(examples.inputs, 8)]
    return torch.cat(answers).numpy()


def tables(model: nn.Module, data: Data, *, path: Sequence[float] = PATH) -> dict[tuple[str, MaskLoss], Losses]:
    """The losses of all candidates, by split ("certification", "test") and loss."""
    pruned = [prune(model, sparsity=sparsity) for sparsity in path]
    found: dict[tuple[str, MaskLoss], Losses] = {}
    for examples in (data.certification, data.test):
        if examples.masks is None:
            raise BadInput("losses of masks need examples with masks")
        seen = [marked(candidate.model, examples) for candidate in pruned]
        for loss, _ in CLAIMS:
            found[examples.split, loss] = mask_losses(
                seen,
                examples.masks,
                sparsities=[candidate.sparsity for candidate in pruned],
                loss=loss,
                names=[f"{sparsity:g}" for sparsity in path],
                split=examples.split,
                data=examples.fingerprint,
                models=[fingerprint(candidate.model) for candidate in pruned],
            )
    return found


def certified(found: dict[tuple[str, MaskLoss], Losses], *, delta: float = DELTA) -> list[Row]:
    """What each bound certifies of each claim, beside the risk on the test split."""
    rows = []
    for loss, alpha in CLAIMS:
        for bound in BOUNDS:
            at = certify(found["certification", loss], alpha=alpha, delta=delta, bound=bound).selected
            rows.append(
                Row(
                    loss=loss,
                    alpha=alpha,
                    bound=bound,
                    sparsity=None if at is None else found["certification", loss].sparsities[at],
                    certification_risk=None if at is None else found["certification", loss].means[at],
                    test_risk=None if at is None else found["test", loss].means[at],
                )
            )
    return rows


def main(*, epochs: int = 12, seed: int = 1) -> None:
    """Train, prune, certify, and print two tables."""
    torch.set_num_threads(1)
    data = shapes(seed=seed)
    model = build("unet", data.shape, 1, seed=seed, options={})
    fit(model, data.train, epochs=epochs, seed=seed)
    found = tables(model, data)
    print("sparsity  1 - IoU (certification, test)  missed pixels (certification, test)")
    columns = [found[split, loss].means for loss, _ in CLAIMS for split in ("certification", "test")]
    for sparsity, *risks in zip(PATH, *columns, strict=True):
        print(f"{sparsity:8.2f}  {risks[0]:.4f}  {risks[1]:.4f}  {risks[2]:.4f}  {risks[3]:.4f}")
    print(f"\nclaim, each by itself with {1 - DELTA:.0%} confidence   bound   sparsity   certification   test")
    for row in certified(found):
        claim = f"{row.loss} <= {row.alpha}  {row.bound:18}"
        if row.sparsity is None:
            print(f"{claim} nothing certified")
        else:
            print(f"{claim} {row.sparsity:.2f}  {row.certification_risk:.4f}  {row.test_risk:.4f}")


if __name__ == "__main__":
    main()
