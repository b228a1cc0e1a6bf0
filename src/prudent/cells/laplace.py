"""Ask one network again, with some of its weights uncertain."""

from collections.abc import Mapping
from typing import Any

from prudent.archive import predictions_to_bytes
from prudent.cells import Input, Made
from prudent.cells._doubting import SIZE, network_and_mask, posterior_of
from prudent.cells._shared import data_of
from prudent.laplace.answers import predict_laplace
from prudent.laplace.posterior import log_marginal_likelihood
from prudent.sources import load_data


def laplace(options: Mapping[str, Any], inputs: Mapping[str, Input]) -> Made:
    """What one network answers to test and OOD examples under a Laplace approximation.

    Args:
        options: data, model, ood (or None), laplace ("last_layer" or "subnetwork"), laplace_weights and laplace_samples
            (or None), seed.
        inputs: network.

    Returns: outputs test_laplace, and where there are strangers ood_laplace, safetensors files of `Predictions`; values
    weights (how many are uncertain), prior_precision, and log_evidence (nats).
    """
    data = data_of(options)
    model, mask = network_and_mask(options, data, inputs["network"])
    posterior = posterior_of(options, data, model, mask)
    sets = {"test": data.splits["test"]}
    if options["ood"] is not None:
        sets["ood"] = load_data(options["ood"]["name"], options["ood"]["options"]).splits["ood"]
    outputs = {}
    for split, examples in sets.items():
        found = predict_laplace(
            posterior, examples.batches(SIZE), samples=options["laplace_samples"], seed=options["seed"]
        )
        outputs[f"{split}_laplace"] = predictions_to_bytes(found)
    values = {
        "weights": posterior.size,
        "prior_precision": posterior.prior_precision,
        "log_evidence": log_marginal_likelihood(posterior),
    }
    return Made(outputs=outputs, values=values)
