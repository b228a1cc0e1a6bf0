"""(network, batches) -> Predictions: the only bridge from networks to statistics."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from prudent.batches import Batch, Batches
from prudent.errors import BadInput, SplitMisuse
from prudent.identity import identity
from prudent.network import evaluating, is_sequence, logits_of, run, seeded
from prudent.seeds import stream
from prudent.types import Predictions, Split

ROWS = 8192
"""Most examples x samples in one forward pass under dropout."""


def predict(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    split: Split | None = None,
    mc_samples: int | None = None,
    seed: int = 0,
) -> Predictions:
    """Run a network once over all batches, in evaluation mode.

    Args:
        model: answers logits (n, classes). Not changed.
        batches: inputs with labels, or inputs alone; read once.
        split: what the examples are for; may be left out for Batches that know it, and must not contradict them.
        mc_samples: under Monte-Carlo dropout, the number of samples; None for the plain answers. Only dropout is
            active then; batch normalisation and everything else stay in evaluation mode.
        seed: for dropout; the global generators are not touched.

    Returns: logits (n, classes), or (mc_samples, n, classes), with fingerprints of examples and network.

    Raises:
        BadInput: no batches, some with and some without labels, a network that does not run on them or does not answer
            one row of logits for each input, NaN or infinite logits, labels that are no integers or outside the
            classes, mc_samples < 2; a network without dropout, or whose samples are all the same, where samples are
            asked for.
        SplitMisuse: `split` contradicts the batches, or neither names one.

    Source: Gal, Ghahramani 2016, "Dropout as a Bayesian Approximation", arXiv:1506.02142, for mc_samples.
    """
    split = _split(batches, split)
    if mc_samples is not None:
        _check_dropout(model, mc_samples)
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with torch.inference_mode(), evaluating(model), seeded(stream("dropout samples", seed)):
        for batch in batches:
            inputs, truth = _parted(batch)
            labels += [] if truth is None else [truth]
            inputs = inputs.to(device)
            answer = logits_of(model, inputs) if mc_samples is None else _sample(model, inputs, mc_samples)
            logits.append(answer.float().cpu())
    if not logits:
        raise BadInput(f"there is nothing to predict: the batches of the {split!r} split are empty")
    if labels and len(labels) != len(logits):
        raise BadInput("some batches have labels and some have none")
    widths = {answer.shape[-1] for answer in logits}
    if len(widths) > 1:
        raise BadInput(f"a network answers as many logits for every batch; it answered {sorted(widths)}")
    joined = torch.cat(logits, dim=-2).numpy()
    if mc_samples is not None and (joined == joined[0]).all():
        raise BadInput("dropout is switched on, yet all samples are the same: does it act on the way to the output?")
    return Predictions(
        logits=joined,
        labels=torch.cat(labels).cpu().numpy().astype(np.int64) if labels else None,
        split=split,
        data=batches.data if isinstance(batches, Batches) else "",
        model=identity(model),
    )


def _parted(batch: object) -> tuple[Tensor, Tensor | None]:
    """Inputs and labels of one batch, or a refusal: labels are never rounded to classes."""
    given = list(batch) if isinstance(batch, (tuple, list)) else [batch]
    parts = [part for part in given if isinstance(part, Tensor)]
    if len(given) not in (1, 2) or len(parts) < len(given):
        came = ", ".join(type(part).__name__ for part in given)
        raise BadInput(f"a batch is a tensor of inputs, or such inputs with a tensor of labels; got {came}")
    inputs, truth = parts[0], parts[1] if len(parts) == 2 else None
    if truth is not None and (truth.is_floating_point() or truth.is_complex() or truth.dtype == torch.bool):
        raise BadInput(f"labels are integers, one class for each input; got {truth.dtype}: labels.long(), if they are")
    if truth is not None and truth.shape != inputs.shape[:1]:
        raise BadInput(f"{len(inputs)} inputs need labels of shape ({len(inputs)},); got {tuple(truth.shape)}")
    return inputs, truth


def _split(batches: Iterable[Batch], split: Split | None) -> Split:
    own = batches.split if isinstance(batches, Batches) else None
    if own is not None and split is not None and own != split:
        raise SplitMisuse(f"these batches are of the {own!r} split; they cannot be predicted as split={split!r}")
    known = own or split
    if known is None:
        raise SplitMisuse('predictions must say what their examples are for: predict(..., split="test")')
    return known


def _check_dropout(model: nn.Module, mc_samples: int) -> None:
    if mc_samples < 2:
        raise BadInput(f"dropout samples are compared with each other: mc_samples must be 2 or more; got {mc_samples}")
    if not any(_drops(module) for module in model.modules()):
        raise BadInput(
            f"{type(model).__name__} has no dropout module with a rate above 0 (functional dropout is not seen): "
            "leave mc_samples out, or use an architecture with dropout"
        )


def _drops(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) and module.p > 0


def _sample(model: nn.Module, inputs: Tensor, samples: int) -> Tensor:
    """(samples, batch, classes) answers with dropout active.

    What comes before the first dropout of a plain network is the same for every sample and is computed once; the rest
    sees all samples as one large batch. Exact in distribution, since dropout draws each row by itself.
    """
    size = len(inputs)
    # not children(), which leaves out a module that occurs again
    parts = [part for part in model._modules.values() if part is not None] if is_sequence(model) else [model]
    first = next(i for i, part in enumerate(parts) if any(_drops(module) for module in part.modules()))
    for part in parts[:first]:
        inputs = run(part, inputs)
    *rest, last = parts[first:]
    answers = []
    with _dropping(model):
        for many in _portions(samples, max(1, ROWS // max(1, size))):
            rows = inputs.repeat(many, *[1] * (inputs.ndim - 1))
            for part in rest:
                rows = run(part, rows)
            answer = logits_of(last, rows, rows=many * size)
            answers.append(answer.reshape(many, size, -1))
    return torch.cat(answers)


@contextmanager
def _dropping(model: nn.Module) -> Iterator[None]:
    """Dropout modules in training mode, everything else as it is."""
    modules = [module for module in model.modules() if isinstance(module, _DropoutNd)]
    for module in modules:
        module.train()
    try:
        yield
    finally:
        for module in modules:
            module.eval()


def _portions(total: int, largest: int) -> Iterator[int]:
    while total > 0:
        yield min(total, largest)
        total -= largest
