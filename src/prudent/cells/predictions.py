"""Run one network once over every split."""

from collections.abc import Mapping
from typing import Any

from prudent.archive import predictions_to_bytes
from prudent.cells import Input, Made
from prudent.cells._shared import architecture_of, data_of, module_of, network_of
from prudent.prediction import predict
from prudent.sources import load_data

SIZE = 512


def predictions(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """What one network answers on validation, certification, test and OOD examples, also under dropout.

    Args:
        options: data, model, ood (or None), mc_samples (or None), mc_dropout (absent, or a table with rate), seed.
        inputs: network.

    Returns: outputs validation, certification, test, and where there are strangers ood; with mc_samples also test_mc
    and ood_mc, with mc_dropout also validation_mc. Each is a safetensors file of `Predictions`.
    """
    asked = options.get("mc_dropout")
    sampled = ("test", "ood") if asked is None else ("validation", "test", "ood")
    rate = None if asked is None else asked["rate"]
    data = data_of(options)
    model = module_of(network_of(inputs["network"], architecture_of(options, data)))
    sets = {split: data.splits[split] for split in ("validation", "certification", "test")}
    if options["ood"] is not None:
        sets["ood"] = load_data(options["ood"]["name"], options["ood"]["options"]).splits["ood"]
    outputs = {}
    for split, examples in sets.items():
        batches = examples.batches(SIZE)
        outputs[split] = predictions_to_bytes(predict(model, batches))
        if options["mc_samples"] is not None and split in sampled:
            found = predict(model, batches, mc_samples=options["mc_samples"], mc_dropout=rate, seed=options["seed"])
            outputs[f"{split}_mc"] = predictions_to_bytes(found)
    return Made(outputs=outputs)
