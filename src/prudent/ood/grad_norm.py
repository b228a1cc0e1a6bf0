"""GradNorm: how much the last layer would have to change for the answer to be undecided."""

from collections.abc import Iterable

from torch import Tensor, nn

from prudent.batches import Batch
from prudent.ood._answers import Detector, check_above_zero
from prudent.ood._features import Seen, of_features

NEEDS = ("features",)


def grad_norm(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,  # noqa: ARG001 (the contract's)
    *,
    temperature: float = 1.0,
    layer: str | None = None,
) -> Detector:
    """Minus the L1 norm of the gradient, in the last weights, of the divergence from the uniform answer.

        score(x) = -|d/dW KL(uniform || softmax(z / T))|_1 = -1/T (sum_i |h_i(x)|) (sum_c |p_c - 1/classes|)
        p = softmax(z(x) / T),    z = W h + b

    The right-hand side is exact, and needs no backward pass.

    Args:
        model: a classifier whose logits are the answer of a linear layer. Not changed.
        batches: not used.
        temperature: T > 0.
        layer: the linear layer, where it is not the one that answers the logits.

    Returns: inputs (n, ...) -> scores (n,), <= 0, nats by weight, higher = more OOD.

    Raises:
        BadInput: T that is not above 0; when scores are asked for: no linear layer at the end and no `layer`, and as
            `max_probability`.
        UnknownName: no such layer.

    Source: Huang, Geng, Li 2021, "On the Importance of Gradients for Detecting Distributional Shifts in the Wild",
    arXiv:2110.00218, equations 3 and 8.
    """
    check_above_zero(temperature, detector="grad_norm", option="temperature")

    def score(seen: Seen) -> Tensor:
        p = (seen.logits / temperature).softmax(dim=1)
        undecided = (p - 1 / p.shape[1]).abs().sum(dim=1)
        return -seen.features.abs().sum(dim=1) * undecided / temperature

    return of_features(model, score, detector="grad_norm", layer=layer, head=True, fitted=False)
