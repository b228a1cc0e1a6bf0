"""Run one network over corrupted and noisy test images."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from prudent.archive import predictions_to_bytes
from prudent.batches import Batches
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, module_of, network_of
from prudent.corrupting import add_noise, corrupt
from prudent.foreign import some_of
from prudent.pixel_scale import scale_of
from prudent.prediction import predict
from prudent.shift_names import NOMINAL, corrupted, noisy

SIZE = 512


def shifted(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """What one network answers on the same test images: as they are, under every corruption, and with noise.

    Args:
        options: data, model, examples (None for all), corruptions, severities, noise, noises.
        inputs: network.

    Returns: outputs nominal, NAME-SEVERITY and noise-SIZE, each a safetensors file of `Predictions`.

    Raises:
        BadInput: the data are no images in [0, 1].
    """
    data = data_of(options)
    model = module_of(network_of(inputs["network"], architecture_of(options, data)))
    scale = scale_of(options["data"]["options"])
    examples = some_of(data.test, options["examples"])
    labels = None if examples.labels is None else torch.from_numpy(examples.labels)
    pixels, ids = scale.pixels(torch.from_numpy(examples.inputs)), torch.from_numpy(examples.ids)
    outputs = {}
    for name, images in _images(pixels, ids, options):
        # the same fingerprint for every network that is shown them: predictions of other images are never compared
        own = hashlib.sha256(f"{examples.fingerprint}|{name}|{options['noise']}".encode()).hexdigest()
        batches = Batches(inputs=scale.inputs(images), labels=labels, size=SIZE, split="test", data=own)
        outputs[name] = predictions_to_bytes(predict(model, batches))
    return Made(outputs=outputs)


def _images(pixels: Tensor, ids: Tensor, options: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    yield NOMINAL, pixels
    for name in options["corruptions"]:
        for severity in options["severities"]:
            yield corrupted(name, severity), corrupt(pixels, name, severity=severity, ids=ids)
    for size in options["noises"]:
        yield noisy(size), add_noise(pixels, size=size, kind=options["noise"], ids=ids)
