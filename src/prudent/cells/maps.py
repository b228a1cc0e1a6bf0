"""Ask one network all over the plane: what it decides, and how sure it is."""

import base64
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from prudent import uncertainty
from prudent.batches import Batches
from prudent.cells import Input, Made
from prudent.cells._doubting import SIZE, network_and_mask, posterior_of
from prudent.cells._shared import data_of
from prudent.errors import BadInput
from prudent.laplace.answers import predict_laplace
from prudent.prediction import predict
from prudent.splits import Data
from prudent.types import Predictions

MARGIN = 0.6
"""How far the maps reach beyond the training examples, in units of their range."""

SHOWN = 100
"""So many test examples are drawn into the maps."""

Values = Float64[np.ndarray, " points"]
SAMPLED: Mapping[str, Callable[[Predictions], Values]] = {
    "entropy": uncertainty.predictive_entropy,
    "mutual_information": uncertainty.mutual_information,
}


def maps(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """Probability of the second class, entropies and doubt on a square grid over the plane.

    Args:
        options: data (two numbers for each example, two classes), model, maps (points along each side), mc_samples,
            laplace, laplace_weights and laplace_samples (or None), mc_dropout (absent, or a table with rate), seed.
        inputs: network.

    Returns: output maps, JSON: x and y (lowest and highest), points, examples ([x, y, class] of some test examples),
    and maps, name -> base64 of one byte for each point, row by row from the highest y: 255 is probability 1, or ln 2
    nats.
    """
    data = data_of(options)
    check_plane(data)
    model, mask = network_and_mask(options, data, inputs["network"])
    low, high = limits(data)
    across, up = (np.linspace(low[d], high[d], options["maps"], dtype=np.float32) for d in (0, 1))
    grid = np.stack(np.meshgrid(across, up[::-1]), axis=-1).reshape(-1, 2)
    points = Batches(inputs=torch.from_numpy(grid), size=SIZE, split="ood")
    plain = predict(model, points)
    found = {"probability": plain.probabilities[:, 1], "entropy": uncertainty.predictive_entropy(plain) / math.log(2)}
    if options["mc_samples"] is not None:
        rate = options.get("mc_dropout", {}).get("rate")
        sampled = predict(model, points, mc_samples=options["mc_samples"], mc_dropout=rate, seed=options["seed"])
        found |= _of_samples("mc", sampled)
    if options["laplace"] is not None:
        posterior = posterior_of(options, data, model, mask)
        found |= _of_samples(
            "laplace", predict_laplace(posterior, points, samples=options["laplace_samples"], seed=options["seed"])
        )
    test = data.splits["test"]
    some = [] if test.labels is None else [
        [float(x), float(y), int(c)]
        for (x, y), c in zip(test.inputs[:SHOWN], test.labels[:SHOWN], strict=True)
    ]  # fmt: skip
    about = {
        "x": [float(low[0]), float(high[0])],
        "y": [float(low[1]), float(high[1])],
        "points": options["maps"],
        "examples": some,
        "maps": {name: base64.b64encode(bytes_of(values)).decode() for name, values in found.items()},
    }
    return Made(outputs={"maps": json.dumps(about).encode()})


def check_plane(data: Data) -> None:
    """Refuse data that do not lie in a plane, or have not two classes.

    Raises:
        BadInput: says what came.
    """
    if tuple(data.shape) != (2,) or len(data.classes) != 2:
        raise BadInput(
            f"maps show examples of two numbers and two classes; {data.name} has examples of shape "
            f"{tuple(data.shape)} and {len(data.classes)} classes: leave evaluation.maps out"
        )


def limits(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the maps: (2,) each."""
    low, high = data.train.inputs.min(axis=0), data.train.inputs.max(axis=0)
    return low - MARGIN * (high - low), high + MARGIN * (high - low)


def bytes_of(values: Values) -> bytes:
    """Numbers in [0, 1] as one byte each."""
    levels: np.ndarray = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return levels.tobytes()


def _of_samples(source: str, predictions: Predictions) -> dict[str, Values]:
    return {
        f"{source}_{name}": function(predictions) / math.log(2)
        for name, function in SAMPLED.items()
        if predictions.members is not None or name == "entropy"
    }
