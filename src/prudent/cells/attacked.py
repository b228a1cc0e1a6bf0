"""Attack one network, and prove what no attack can do."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from safetensors.numpy import save
from torch import Tensor, nn

from prudent.attacks import fgsm, pgd
from prudent.auto_pgd import AttackLoss, apgd
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, module_of, network_of
from prudent.enclosures import layers_of, proved_margins
from prudent.errors import BadInput
from prudent.foreign import some_of
from prudent.pixel_scale import scale_of
from prudent.relaxations import Inner, relaxed_margins

SIZE = 256
MARGINS = "margins"

RELAXED = 32
"""Examples that linear bounds are asked about, where the study does not say how many."""

MOST_UNITS = 1000
"""Inputs of ReLUs that are each pulled back; in networks of more, they are bounded by intervals."""

Margins = Float64[np.ndarray, " n"]


def attacked(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """Margins of one network under attacks within each radius (largest change of a pixel), and those it surely keeps.

    Each attack begins where the one before it ended: PGD from the random perturbations, APGD (with both of its losses)
    with what PGD has left right; and linear bounds are asked about what is neither broken nor proved by intervals. So
    random errors <= PGD errors <= APGD errors <= examples that linear bounds leave open <= those that intervals do.

    Args:
        options: data, model, attacked (examples, at most), radii (8-bit steps), steps (of PGD); apgd (its steps; those
            of PGD if absent, 0 for none) and crown (of the examples the first so many get linear bounds; RELAXED if
            absent, 0 for none).
        inputs: network.

    Returns: output margins, a safetensors file of float32 arrays (radii, n): random, fgsm, pgd and apgd, largest logit
    of another class minus that of the true one, above 0 where the network errs; clean (n,); proved, above 0 where
    interval bounds certify the example, and crown (radii, k) where linear bounds do. Values counts {attack: [wrong at
    each radius]}, clean, proved ([certified] or None), n, note: why nothing is proved; crown None, or n, certified and
    inner (what bounds the inputs of ReLUs).

    Raises:
        BadInput: the data are no images in [0, 1], or have no labels.
    """
    data = data_of(options)
    architecture = architecture_of(options, data)
    network = module_of(network_of(inputs["network"], architecture))
    scale = scale_of(options["data"]["options"])
    model = scale.before(network.eval())
    examples = some_of(data.test, options["attacked"])
    if examples.labels is None:
        raise BadInput("an attack needs the true classes; the test split has no labels")
    images, labels = scale.pixels(torch.from_numpy(examples.inputs)), torch.from_numpy(examples.labels)
    rows = [_under_attack(model, images, labels, radius / 255, options) for radius in options["radii"]]
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    counts = {name: np.count_nonzero(found > 0, axis=1).tolist() for name, found in arrays.items()}
    clean = _in_parts(images, lambda part: pgd(model, images[part], labels[part], radius=0, steps=0).margins)
    values = {"n": len(labels), "clean": int(np.count_nonzero(clean > 0)), "counts": counts}
    strongest = arrays["apgd" if "apgd" in arrays else "pgd"]
    own, kept = _certified(model, images, labels, strongest, architecture.build().eval(), options)
    arrays |= {"clean": clean} | own
    saved = {name: found.astype(np.float32) for name, found in arrays.items()}
    return Made(outputs={MARGINS: save(saved)}, values=values | kept)


def _in_parts(images: Tensor, of: Callable[[slice], Tensor]) -> Margins:
    """Margins (n,) batch by batch."""
    parts = [of(slice(start, start + SIZE)) for start in range(0, len(images), SIZE)]
    joined: Margins = torch.cat(parts).detach().cpu().double().numpy()
    return joined


def _under_attack(
    model: nn.Module, images: Tensor, labels: Tensor, radius: float, options: Mapping[str, Any]
) -> dict[str, Margins]:
    """Margins under each attack within one radius."""
    numbers, steps = torch.arange(len(images)), options["steps"]

    def by_pgd(steps: int) -> Margins:
        return _in_parts(
            images, lambda p: pgd(model, images[p], labels[p], radius=radius, steps=steps, ids=numbers[p]).margins
        )

    found = {"random": by_pgd(0)}
    found["fgsm"] = _in_parts(images, lambda p: fgsm(model, images[p], labels[p], radius=radius).margins)
    found["pgd"] = by_pgd(steps)
    turns = options.get("apgd")
    turns = steps if turns is None else turns
    if turns > 0:
        found["apgd"] = _apgd(model, images, labels, radius, found["pgd"], turns)
    return found


def _apgd(model: nn.Module, images: Tensor, labels: Tensor, radius: float, before: Margins, steps: int) -> Margins:
    """The larger of the margins before and those that APGD finds of what is still right, with either loss."""

    def found(which: Tensor, loss: AttackLoss) -> Margins:
        some, true = images[which], labels[which]
        return _in_parts(
            some, lambda p: apgd(model, some[p], true[p], radius=radius, loss=loss, steps=steps, ids=which[p]).margins
        )

    best = before.copy()
    losses: tuple[AttackLoss, ...] = ("cross_entropy", "dlr") if _classes(model, images) > 2 else ("cross_entropy",)
    for loss in losses:
        left = np.flatnonzero(best <= 0)
        if len(left):
            best[left] = np.maximum(best[left], found(torch.from_numpy(left), loss))
    return best


def _classes(model: nn.Module, images: Tensor) -> int:
    with torch.no_grad():
        return int(model(images[:1]).shape[1])


def _certified(
    model: nn.Module, images: Tensor, labels: Tensor, attacked: np.ndarray, whole: nn.Module, options: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Margins that are surely kept, by intervals and by linear bounds, and what is said of them.

    Args:
        model: that reads pixels.
        images, labels: (n, ...) and (n,).
        attacked: (radii, n) largest margins that were found.
        whole: a network of the dense one's architecture: its size decides, so that all networks are treated alike.
        options: of the cell.
    """
    radii = [radius / 255 for radius in options["radii"]]
    try:
        proved = np.stack([_proved(model, images, labels, radius) for radius in radii])
        inner: Inner = "crown" if _relu_inputs(whole, images[:1]) <= MOST_UNITS else "interval"
    except BadInput as error:
        return {}, {"proved": None, "crown": None, "note": str(error)}
    values: dict[str, Any] = {"proved": np.count_nonzero(proved > 0, axis=1).tolist(), "crown": None, "note": ""}
    asked = options.get("crown")
    k = min(RELAXED if asked is None else asked, len(images))
    if k == 0:
        return {"proved": proved}, values
    # where an attack succeeded, less than nothing is kept, and what it found says by how much
    kept = np.minimum(proved, np.where(attacked > 0, -attacked, np.inf))[:, :k]
    for at, radius in enumerate(radii):
        open_ = torch.from_numpy(np.flatnonzero((kept[at] <= 0) & (attacked[at, :k] <= 0)))
        if len(open_):
            tight = relaxed_margins(model, images[open_], labels[open_], radius=radius, inner=inner)
            kept[at, open_.numpy()] = np.maximum(kept[at, open_.numpy()], tight.numpy())
    values["crown"] = {"n": k, "certified": np.count_nonzero(kept > 0, axis=1).tolist(), "inner": inner}
    return {"proved": proved, "crown": kept}, values


def _proved(model: nn.Module, images: Tensor, labels: Tensor, radius: float) -> Margins:
    return _in_parts(images, lambda part: proved_margins(model, images[part], labels[part], radius=radius))


def _relu_inputs(model: nn.Module, image: Tensor) -> int:
    """How many inputs the ReLUs of a network of layers in a row have together.

    Raises:
        BadInput: another network.
    """
    total = 0
    with torch.no_grad():
        for layer in layers_of(model):
            total += image[0].numel() if isinstance(layer, nn.ReLU) else 0
            image = layer(image)
    return total
