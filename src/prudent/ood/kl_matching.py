"""KL divergence from the answers that are typical of the classes."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from prudent.batches import Batch
from prudent.ood._answers import Detector, learn_from, logits_in, of_logits

NEEDS = ("data",)


def kl_matching(model: nn.Module, batches: Iterable[Batch] | None = None) -> Detector:
    """Smallest KL divergence of the predicted probabilities from those that are typical of a predicted class.

        score(x) = min_k sum_c p_c ln(p_c / t_kc),    p = softmax(z(x))
        t_k = mean of p over the known examples that are predicted as class k

    Classes that the network predicts for no known example have no t_k; a network that is pruned too far has fewer of
    them.

    Args:
        model: answers logits z (n, classes). Not changed.
        batches: inputs, with labels or without, of the validation (or train) split; read once.

    Returns: inputs (n, ...) -> scores (n,), nats, >= 0 up to rounding, higher = more OOD.

    Raises:
        BadInput: no batches, NaN, and as `max_probability`; a network that was changed since.
        SplitMisuse: examples of the certification or test split.

    Source: Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings", arXiv:1911.11132,
    section 4; classes are the predicted ones, so that no labels are needed.
    """
    sums: list[Tensor] = []

    def learn(inputs: Tensor, _: Tensor | None) -> None:
        log_p = log_softmax(logits_in(model, inputs, detector="kl_matching"), dim=1)
        classes = log_p.shape[1]
        decided = log_p.argmax(dim=1)
        if not sums:
            sums.extend([log_p.new_zeros(classes), log_p.new_full((classes, classes), -torch.inf)])
        sums[0] += torch.bincount(decided, minlength=classes)
        for k in sorted(set(decided.tolist())):
            # sums of logarithms' exponents: a probability that underflows would make the divergence infinite
            sums[1][k] = torch.logaddexp(sums[1][k], torch.logsumexp(log_p[decided == k], dim=0))

    learn_from(model, batches, learn, detector="kl_matching")
    counts, totals = sums
    here = counts > 0
    typical = totals[here] - counts[here].log()[:, None]

    def score(logits: Tensor) -> Tensor:
        log_p = log_softmax(logits, dim=1)
        p = log_p.exp()
        return ((p * log_p).sum(dim=1, keepdim=True) - p @ typical.T).min(dim=1).values

    return of_logits(model, score, detector="kl_matching", fitted=True)
