"""Attack one network, and prove what no attack can do."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from prudent.attacks import fgsm, pgd
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, module_of, network_of
from prudent.enclosures import proved_margins
from prudent.errors import BadInput
from prudent.foreign import some_of
from prudent.pixel_scale import scale_of

SIZE = 256
MARGINS = "margins"
ATTACKS = ("random", "fgsm", "pgd")


def attacked(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """Margins of one network under attacks within each radius (largest change of a pixel), and those it surely keeps.

    The points that PGD starts from are the random perturbations, so random errors <= PGD errors <= examples that are
    not proved safe.

    Args:
        options: data, model, attacked (examples, at most), radii (8-bit steps), steps (of PGD).
        inputs: network.

    Returns: output margins, a safetensors file of float32 arrays (radii, n): random, fgsm and pgd, largest logit of
    another class minus that of the true one, above 0 where the network errs; clean (n,); proved, above 0 where interval
    bounds certify the example. Values counts {attack: [wrong at each radius]}, clean, proved ([certified] or None), n,
    and note: why nothing is proved.

    Raises:
        BadInput: the data are no images in [0, 1], or have no labels.
    """
    data = data_of(options)
    network = module_of(network_of(inputs["network"], architecture_of(options, data)))
    scale = scale_of(options["data"]["options"])
    model = scale.before(network.eval())
    examples = some_of(data.test, options["attacked"])
    if examples.labels is None:
        raise BadInput("an attack needs the true classes; the test split has no labels")
    images, labels = scale.pixels(torch.from_numpy(examples.inputs)), torch.from_numpy(examples.labels)
    margins = {name: np.stack([_margins(name, model, images, labels, r, options) for r in options["radii"]])
               for name in ATTACKS}  # fmt: skip
    clean = _margins("random", model, images, labels, 0.0, options)
    proved, note = _proved(model, images, labels, options["radii"])
    values = {
        "n": len(labels),
        "clean": int(np.count_nonzero(clean > 0)),
        "counts": {name: np.count_nonzero(found > 0, axis=1).tolist() for name, found in margins.items()},
        "proved": None if proved is None else np.count_nonzero(proved > 0, axis=1).tolist(),
        "note": note,
    }
    arrays = margins | {"clean": clean} | ({} if proved is None else {"proved": proved})
    return Made(outputs={MARGINS: save(arrays)}, values=values)


def _margins(
    name: str, model: nn.Module, images: Tensor, labels: Tensor, radius: float, options: Mapping[str, Any]
) -> np.ndarray:
    """Margins (n,) under one attack, batch by batch."""
    found = []
    for start in range(0, len(images), SIZE):
        part = slice(start, start + SIZE)
        given, size = (model, images[part], labels[part]), radius / 255
        ids = torch.arange(start, start + len(labels[part]))
        if name == "fgsm":
            made = fgsm(*given, radius=size)
        else:
            made = pgd(*given, radius=size, steps=options["steps"] if name == "pgd" else 0, ids=ids)
        found.append(made.margins.detach().cpu().float().numpy())
    joined: np.ndarray = np.concatenate(found)
    return joined


def _proved(
    model: nn.Module, images: Tensor, labels: Tensor, radii: list[float]
) -> tuple[np.ndarray | None, str]:  # fmt: skip
    try:
        rows = [
            torch.cat([
                proved_margins(model, images[start : start + SIZE], labels[start : start + SIZE], radius=radius / 255)
                for start in range(0, len(images), SIZE)
            ])
            for radius in radii
        ]  # fmt: skip
    except BadInput as error:
        return None, str(error)
    return torch.stack(rows).float().numpy(), ""
