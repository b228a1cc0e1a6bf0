"""A finished network -> its Laplace posterior, as a study asks for it."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from prudent.cells import Input
from prudent.cells._shared import architecture_of, example_of, module_of, network_of
from prudent.errors import BadInput
from prudent.laplace.answers import with_validated_prior
from prudent.laplace.posterior import Posterior, fit_laplace
from prudent.laplace.subnetworks import Subnetwork, last_layer, most_uncertain, weights_left
from prudent.masks import Mask
from prudent.pruning import Pruned
from prudent.splits import Data

SIZE = 512
MOST = 1000
"""Most uncertain weights of a subnetwork, unless the study says another number."""

Options = Mapping[str, Any]


def network_and_mask(options: Options, data: Data, made: Input) -> tuple[nn.Module, Mask | None]:
    """The network to run, and the mask that says which of its zeros are no weights; None where all its weights are."""
    network = network_of(made, architecture_of(options, data))
    return module_of(network), network.mask if isinstance(network, Pruned) else None


def posterior_of(options: Options, data: Data, model: nn.Module, mask: Mask | None) -> Posterior:
    """The posterior of the last layer, or of the most uncertain among the surviving weights.

    The prior precision is that of the highest marginal likelihood. It is the one under which validation examples are
    most probable where the marginal likelihood has no highest value (a network that is left nothing), and where only
    some of the weights that are left are uncertain: they were chosen for being known least, which says that the prior
    is weak, of them alone.
    """
    batches = data.train.batches(SIZE)
    inside, all_of_them = _subnetwork(options, data, model, mask)
    if all_of_them:
        try:
            return fit_laplace(model, batches, inside)
        except BadInput as error:
            if "no prior precision" not in str(error):
                raise
    return with_validated_prior(fit_laplace(model, batches, inside, prior_precision=1.0), data.validation.batches(SIZE))


def _subnetwork(options: Options, data: Data, model: nn.Module, mask: Mask | None) -> tuple[Subnetwork, bool]:
    if options["laplace"] == "last_layer":
        return last_layer(model, example_of(data), mask=mask), True
    inside = weights_left(model, mask)
    size, left = options["laplace_weights"] or MOST, sum(len(indices) for indices in inside.values())
    if left <= size:
        return inside, True
    return most_uncertain(model, data.train.batches(SIZE), size=size, mask=mask), False
