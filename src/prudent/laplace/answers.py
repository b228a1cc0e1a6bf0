"""A posterior over weights -> what the network answers then: linearised, so that it is a Gaussian over logits."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from prudent.batches import Batch, Batches
from prudent.errors import BadInput, SplitMisuse
from prudent.laplace.curvature import linearised
from prudent.laplace.posterior import Posterior
from prudent.observation import device_of
from prudent.prediction import parted, split_of
from prudent.seeds import stream
from prudent.types import Predictions, Split

PRIORS = tuple(10.0 ** (k / 4) for k in range(-16, 25))
"""Prior precisions that validation examples choose from."""


def gaussian_answers(posterior: Posterior, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what the network answers, to first order in its weights.

        f(x) ~ N(f*(x), J(x) covariance J(x)^T)

    Args:
        posterior: from `fit_laplace`.
        inputs: (n, ...) on the network's device.

    Returns: (n, d) and (n, d, d), float64. For regression without the noise of the targets.

    Source: Immer et al. 2021, "Improving predictions of Bayesian neural nets via local linearization",
    arXiv:2008.08400.
    """
    means, covariances = [], []
    for answers, slopes in linearised(posterior.model, posterior.subnetwork, inputs):
        spread = slopes.cpu() @ posterior.root
        means.append(answers.cpu())
        covariances.append(spread @ spread.transpose(1, 2))
    return torch.cat(means), torch.cat(covariances)


def predict_laplace(
    posterior: Posterior,
    batches: Iterable[Batch],
    *,
    split: Split | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Predictions:
    """What a network answers when some of its weights are uncertain.

        probit:   softmax(f* / sqrt(1 + pi / 8 diag(S))),    S = J covariance J^T
        samples:  softmax(f* + J (w_s - w*)),    w_s ~ posterior

    Each sample is one network, the same for all examples, so that samples are members like those of an ensemble.

    Args:
        posterior: from `fit_laplace`, of a classification.
        batches: inputs with labels, or inputs alone.
        split: what the examples are for; may be left out for Batches that know it.
        samples: how many members; None for the probit approximation, which is one answer without members.
        seed: of the samples.

    Returns: logits (n, classes) or (samples, n, classes); `model` is the fingerprint of the posterior.

    Raises:
        BadInput: no batches, a posterior of a regression, samples < 2, inputs that the network does not run on.
        SplitMisuse: `split` contradicts the batches, or neither names one.

    Source: Daxberger et al. 2021, arXiv:2010.14689, section 3; probit: MacKay 1992, "The evidence framework applied to
    classification networks".
    """
    split = split_of(batches, split)
    if posterior.likelihood != "classification":
        raise BadInput("predictions have classes; of a regression ask gaussian_answers(...)")
    if samples is not None and samples < 2:
        raise BadInput(f"samples are compared with each other: samples must be 2 or more; got {samples}")
    drawn = None
    if samples is not None:
        generator = torch.Generator().manual_seed(stream("laplace samples", seed))
        normal = torch.randn(posterior.size, samples, generator=generator, dtype=torch.float64)
        drawn = posterior.root @ normal
    logits, labels = [], []
    for answers, slopes, truth in _answered(posterior, batches):
        labels.append(truth)
        if drawn is None:
            variance = ((slopes @ posterior.root) ** 2).sum(dim=2)
            logits.append(_probit(answers, variance))
        else:
            logits.append(answers + (slopes @ drawn).permute(2, 0, 1))
    if not logits:
        raise BadInput(f"there is nothing to predict: the batches of the {split!r} split are empty")
    known = [truth for truth in labels if truth is not None]
    if known and len(known) != len(labels):
        raise BadInput("some batches have labels and some have none")
    return Predictions(
        logits=torch.cat(logits, dim=-2).numpy(),
        labels=torch.cat(known).cpu().numpy().astype(np.int64) if known else None,
        split=split,
        data=batches.data if isinstance(batches, Batches) else "",
        model=posterior.fingerprint,
    )


def with_validated_prior(posterior: Posterior, validation: Iterable[Batch]) -> Posterior:
    """The same posterior with the prior precision under which validation examples are most probable (probit).

    Looked at are four in each power of ten from 1e-4 to 1e6; of several that are equally good, the strongest.

    Args:
        posterior: of a classification; its own prior precision does not matter.
        validation: examples with labels, of the validation split.

    Raises:
        SplitMisuse: examples of another split.
        BadInput: no examples, or without labels.
    """
    if split_of(validation, "validation" if not isinstance(validation, Batches) else None) != "validation":
        raise SplitMisuse("a prior precision is chosen on validation examples")
    scales = posterior.eigenvalues[:, None] + torch.tensor(PRIORS, dtype=torch.float64)
    total, n = torch.zeros(len(PRIORS), dtype=torch.float64), 0
    for answers, slopes, truth in _answered(posterior, validation):
        if truth is None:
            raise BadInput("a prior precision is chosen by labels; these validation batches have none")
        variances = (slopes @ posterior.vectors) ** 2 @ (1 / scales)  # (n, classes, priors)
        for i in range(len(PRIORS)):
            probit = _probit(answers, variances[:, :, i])
            total[i] += torch.nn.functional.cross_entropy(probit, truth.cpu(), reduction="sum")
        n += len(answers)
    if not n:
        raise BadInput("a prior precision is chosen on validation examples; the batches were empty")
    best = max(range(len(PRIORS)), key=lambda i: (-float(total[i]), i))
    return replace(posterior, prior_precision=PRIORS[best])


def _answered(posterior: Posterior, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Answers, Jacobians and labels in chunks, on the CPU."""
    device = device_of(posterior.model)
    for batch in batches:
        inputs, truth = parted(batch)
        done = 0
        for answers, slopes in linearised(posterior.model, posterior.subnetwork, inputs.to(device)):
            some = None if truth is None else truth[done : done + len(answers)]
            done += len(answers)
            yield answers.cpu(), slopes.cpu(), some


def _probit(answers: Tensor, variance: Tensor) -> Tensor:
    return answers / torch.sqrt(1 + math.pi / 8 * variance)
