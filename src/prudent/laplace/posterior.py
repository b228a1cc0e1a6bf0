"""Training examples -> how sure some weights of a network are: a Gaussian around the trained ones."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from prudent.batches import Batch
from prudent.errors import BadInput
from prudent.laplace.curvature import Likelihood, observations, root_of_hessian
from prudent.laplace.subnetworks import Subnetwork
from prudent.network import fingerprint

COPIES = 5
"""So many matrices of the curvature's size exist while it is taken apart."""

WEAKEST, STRONGEST = 1e-8, 1e12
"""Prior precisions that are looked at."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """A Gaussian over some weights of a network, centred at their trained values; the others are fixed.

        weights ~ N(trained, (GGN + prior_precision I)^-1)

    Args:
        model: the trained network; it must not change while the posterior is used.
        subnetwork: parameter name -> flat indices of the uncertain weights.
        trained: (k,) their values, float64.
        eigenvalues: (k,) of the generalised Gauss-Newton matrix (GGN) of the summed loss, >= 0.
        vectors: (k, k) its eigenvectors in columns.
        log_likelihood: of the training examples under the trained network, nats, summed.
        n: how many examples there were.
        prior_precision: of the Gaussian prior N(0, I / prior_precision) on each uncertain weight.
        likelihood: "classification" (softmax) or "regression" (Gaussian).
        noise: variance of the Gaussian likelihood; not used by "classification".
    """

    model: nn.Module
    subnetwork: Subnetwork
    trained: Tensor
    eigenvalues: Tensor
    vectors: Tensor
    log_likelihood: float
    n: int
    prior_precision: float
    likelihood: Likelihood = "classification"
    noise: float = 1.0

    @property
    def size(self) -> int:
        """How many weights are uncertain."""
        return len(self.trained)

    @cached_property
    def root(self) -> Tensor:
        """(k, k) R with covariance = R R^T."""
        return self.vectors / (self.eigenvalues + self.prior_precision).sqrt()

    @property
    def covariance(self) -> Tensor:
        """(k, k) of the uncertain weights, in the order of `subnetwork`."""
        return self.root @ self.root.T

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the network's state, the uncertain weights and their distribution, as 64 hex digits."""
        places = {f"laplace places of {name}": indices for name, indices in self.subnetwork.items()}
        numbers = {
            "laplace eigenvalues": self.eigenvalues,
            "laplace vectors": self.vectors,
            "laplace prior precision": torch.tensor(self.prior_precision, dtype=torch.float64),
        }
        return fingerprint({**self.model.state_dict(), **places, **numbers})


def fit_laplace(
    model: nn.Module,
    batches: Iterable[Batch],
    subnetwork: Subnetwork,
    *,
    prior_precision: float | None = None,
    likelihood: Likelihood = "classification",
    noise: float = 1.0,
    memory: int = 2**31,
) -> Posterior:
    """Laplace approximation of some weights of a trained network, with the full generalised Gauss-Newton matrix.

        GGN = sum over examples of J^T H J,    H = diag(p) - p p^T, or I / noise

    J are the Jacobians of the logits with respect to the uncertain weights alone, so that masked weights, and all
    others that are fixed, neither cost anything nor become uncertain.

    Args:
        model: trained; answers logits (n, classes), or for "regression" predictions (n, d). Not changed.
        batches: training examples with labels, or targets (n, d).
        subnetwork: which weights are uncertain: `last_layer`, `survivors` or `most_uncertain`.
        prior_precision: > 0; None for the one of the highest marginal likelihood.
        likelihood, noise: what the loss is; the variance of the noise is > 0.
        memory: most bytes that the matrices may take; needed are about 40 k^2 for k weights.

    Raises:
        BadInput: it would take more than `memory` (says how much); a layer that cannot be differentiated by example; no
            examples; a prior precision or noise that is not positive; no best prior precision.
        SplitMisuse: examples of the certification, test or ood split.

    Source: MacKay 1992, "A practical Bayesian framework for backpropagation networks"; Daxberger et al. 2021, "Bayesian
    Deep Learning via Subnetwork Inference", arXiv:2010.14689; last layer: Kristiadi et al. 2020, arXiv:2002.10118.
    """
    places = _checked(model, subnetwork, memory)
    for what, value in (("prior_precision", prior_precision), ("noise", noise)):
        if value is not None and not 0 < value < math.inf:
            raise BadInput(f"{what} is positive and finite; got {value}")
    size = sum(len(indices) for indices in places.values())
    curvature, total, n = torch.zeros(size, size, dtype=torch.float64), 0.0, 0
    for answers, slopes, truth in observations(model, batches, places, likelihood=likelihood):
        rooted = (root_of_hessian(answers, likelihood=likelihood, noise=noise) @ slopes).flatten(0, 1).cpu()
        curvature.addmm_(rooted.T, rooted)
        total += _log_likelihood(answers, truth, likelihood, noise)
        n += len(answers)
    own = dict(model.named_parameters())
    trained = torch.cat([own[name].detach().reshape(-1).cpu()[where] for name, where in places.items()]).double()
    eigenvalues, vectors = torch.linalg.eigh(curvature)
    found = Posterior(
        model=model, subnetwork=places, trained=trained, eigenvalues=eigenvalues.clamp(min=0), vectors=vectors,
        log_likelihood=total, n=n, prior_precision=prior_precision or 1.0, likelihood=likelihood, noise=noise,
    )  # fmt: skip
    return found if prior_precision is not None else replace(found, prior_precision=best_by_evidence(found))


def log_marginal_likelihood(posterior: Posterior, *, prior_precision: float | None = None) -> float:
    """Laplace's approximation of the log probability of the training labels, nats; higher is better.

        log p(D | w*) - prior / 2 |w*|^2 + k / 2 log prior - 1/2 log det(GGN + prior I)

    Up to what does not depend on the prior precision or the data's likelihood it is exact for linear networks with
    Gaussian noise.

    Args:
        posterior: from `fit_laplace`.
        prior_precision: another than its own.

    Raises:
        BadInput: a prior precision that is not positive.

    Source: MacKay 1992, eq. 19; Immer et al. 2021, "Scalable Marginal Likelihood Estimation", arXiv:2104.04975.
    """
    prior = posterior.prior_precision if prior_precision is None else prior_precision
    if not 0 < prior < math.inf:
        raise BadInput(f"prior_precision is positive and finite; got {prior}")
    fit = posterior.log_likelihood - prior / 2 * float((posterior.trained**2).sum())
    return fit - 0.5 * float(torch.log1p(posterior.eigenvalues / prior).sum())


def best_by_evidence(posterior: Posterior) -> float:
    """The prior precision of the highest marginal likelihood.

        prior |w*|^2 = sum over eigenvalues e of e / (e + prior)

    The left side grows with the prior and the right side falls, so there is one. (A weight that is as uncertain as the
    prior counts 0 on the right, one that the data fix counts 1.)

    Raises:
        BadInput: all trained weights are 0, or the data say nothing of them: then there is no best one.

    Source: MacKay 1992, eq. 22.
    """
    length, eigenvalues = float((posterior.trained**2).sum()), posterior.eigenvalues

    def surplus(log_prior: float) -> float:
        prior = math.exp(log_prior)
        return float((eigenvalues / (eigenvalues + prior)).sum()) - prior * length

    low, high = math.log(WEAKEST), math.log(STRONGEST)
    if not (surplus(low) > 0 > surplus(high)):
        raise BadInput(
            f"no prior precision in {WEAKEST:g} .. {STRONGEST:g} has the highest marginal likelihood: the uncertain "
            "weights are 0, or the examples say nothing of them; choose prior_precision=..."
        )
    return math.exp(float(brentq(surplus, low, high, xtol=1e-10)))


def _checked(model: nn.Module, subnetwork: Subnetwork, memory: int) -> dict[str, Tensor]:
    own = dict(model.named_parameters())
    places = {}
    for name, indices in subnetwork.items():
        if name not in own:
            raise BadInput(f"a subnetwork names parameters of the network; it has no {name!r}")
        where = torch.as_tensor(indices).cpu()
        fits = where.dtype == torch.int64 and where.ndim == 1 and len(where) == len(set(where.tolist()))
        if not fits or (len(where) and not 0 <= int(where.min()) <= int(where.max()) < own[name].numel()):
            raise BadInput(f"{name!r} has {own[name].numel()} elements: name some by distinct flat indices (int64)")
        if len(where):
            places[name] = where.sort().values
    size = sum(len(where) for where in places.values())
    if not size:
        raise BadInput("a Laplace approximation needs at least one uncertain weight")
    if COPIES * 8 * size**2 > memory:
        raise BadInput(
            f"a full posterior of {size:,} weights takes about {COPIES * 8 * size**2 / 2**30:.1f} GiB, memory allows "
            f"{memory / 2**30:.1f} GiB: use fewer (most_uncertain(..., size={math.isqrt(memory // (COPIES * 8))})), or "
            "only the last layer"
        )
    return places


def _log_likelihood(answers: Tensor, truth: Tensor, likelihood: Likelihood, noise: float) -> float:
    if likelihood == "regression":
        squares = float(((answers - truth) ** 2).sum())
        return -0.5 * (squares / noise + answers.numel() * math.log(2 * math.pi * noise))
    return -float(nn.functional.cross_entropy(answers, truth, reduction="sum"))
