"""Errors under corruption beside the dense network's, and radii in which a smoothed network is certain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import betaincinv, ndtri

from prudent.errors import BadInput

ROUNDING = 1e-12
"""Differences of error rates below it are those of floats: no set has so many examples."""


@dataclass(frozen=True, kw_only=True)
class CorruptionErrors:
    """Errors under corruptions as multiples of the dense network's. 1: as bad as dense; lower is better.

    Args:
        by_corruption: corruption -> CE, sum over severities of the error / that of the dense network.
        relative: corruption -> relative CE, the same with the clean errors taken off; NaN where the dense network loses
            nothing by the corruption, or gains.
        mean_error: plain mean of the network's own errors over corruptions and severities, in [0, 1].
    """

    by_corruption: Mapping[str, float]
    relative: Mapping[str, float]
    mean_error: float

    @property
    def mce(self) -> float:
        """Mean corruption error: mean of CE over corruptions."""
        return float(np.mean(list(self.by_corruption.values())))

    @property
    def relative_mce(self) -> float:
        """Mean of the relative CE over corruptions; NaN if one is."""
        return float(np.mean(list(self.relative.values())))


def corruption_errors(
    errors: Mapping[str, Sequence[float]],
    dense: Mapping[str, Sequence[float]],
    *,
    clean: float,
    dense_clean: float,
) -> CorruptionErrors:
    """Corruption errors of a pruned network beside the dense one.

        CE_c          = sum over severities of E_cs / sum of E_cs(dense)
        relative CE_c = sum over severities of (E_cs - clean) / sum of (E_cs(dense) - clean(dense))

    A relative CE above 1 says that corruption costs the pruned network more than it costs the dense one, apart from
    what pruning costs on clean examples. It is not to be read where the dense network loses next to nothing by the
    corruption, for it divides by that.

    Args:
        errors: corruption -> error rate at each severity.
        dense: the same of the dense network: same corruptions, as many severities.
        clean, dense_clean: error rates without corruption.

    Raises:
        BadInput: other corruptions or severities, no corruptions, rates outside [0, 1], a corruption under which the
            dense network makes no error.

    Source: Hendrycks, Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
    Perturbations", arXiv:1903.12261, section 4; the baseline there is AlexNet, here the dense network.
    """
    if not errors or set(errors) != set(dense):
        raise BadInput(f"both networks need errors of the same corruptions; got {sorted(errors)} and {sorted(dense)}")
    _check_rates("clean", [clean, dense_clean])
    each, relative = {}, {}
    for name, own in errors.items():
        theirs = dense[name]
        if len(own) == 0 or len(own) != len(theirs):
            raise BadInput(f"{name}: both networks need the same severities; got {len(own)} and {len(theirs)}")
        _check_rates(name, [*own, *theirs])
        if sum(theirs) == 0:
            raise BadInput(f"{name}: the dense network makes no error, so there is nothing to divide by")
        each[name] = sum(own) / sum(theirs)
        lost = math.fsum(theirs) - len(theirs) * dense_clean
        relative[name] = (math.fsum(own) - len(own) * clean) / lost if lost > ROUNDING * len(theirs) else float("nan")
    mean = float(np.mean([rate for own in errors.values() for rate in own]))
    return CorruptionErrors(by_corruption=each, relative=relative, mean_error=mean)


def certified_radii(
    top_counts: Int64[np.ndarray, " n"], *, samples: int, sigma: float, delta: float = 0.001
) -> Float64[np.ndarray, " n"]:
    """Radius around each example within which the smoothed network certainly decides the same; higher is better.

        p = Beta(delta; k, samples - k + 1)        exact lower limit of the top class's probability under noise
        radius = sigma Phi^-1(p) where p > 1/2, else NaN: it abstains

    The smoothed network decides for the class that Gaussian noise of standard deviation sigma leads to most often. Each
    radius, in the L2 norm and the unit of the inputs, is wrong with probability at most delta. The top class must have
    been chosen on other noise than that which is counted here.

    Args:
        top_counts: (n,) how many of the samples were decided for the class chosen beforehand.
        samples: number of noisy samples of each example.
        sigma: of the noise, > 0.
        delta: of each example, in (0, 1).

    Returns: (n,), > 0, or NaN where nothing is certified.

    Raises:
        BadInput: counts outside 0 .. samples, no samples, sigma not positive, delta outside (0, 1).

    Source: Cohen, Rosenfeld, Kolter 2019, "Certified Adversarial Robustness via Randomized Smoothing",
    arXiv:1902.02918, section 3.2.2, CERTIFY.
    """
    if samples < 1 or len(top_counts) == 0 or top_counts.min() < 0 or top_counts.max() > samples:
        raise BadInput(f"counts of the top class lie in 0 .. samples, samples >= 1; got samples={samples}")
    if not 0 < sigma < float("inf") or not 0 < delta < 1:
        raise BadInput(f"sigma is positive and delta in (0, 1); got sigma={sigma}, delta={delta}")
    k = top_counts.astype(np.float64)
    lowest = np.where(k > 0, betaincinv(np.maximum(k, 1), samples - np.maximum(k, 1) + 1, delta), 0.0)
    radii: Float64[np.ndarray, " n"] = np.where(lowest > 0.5, sigma * ndtri(np.maximum(lowest, 0.5)), np.nan)
    return radii


def smoothed_loss(
    radii: Float64[np.ndarray, " n"],
    top_classes: Int64[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
    *,
    radius: float = 0.0,
) -> Float64[np.ndarray, " n"]:
    """1 for every example that is not certainly right within `radius`, else 0: (n,), lower is better.

        loss = 0 if the certified radius is at least `radius` and the top class is the label, else 1

    Abstaining loses. One minus its mean is the certified accuracy; as a 0/1 loss of independent examples it can go into
    `Losses` and be certified itself. Such a certificate also holds for the network's true certified accuracy only with
    the chance that the radii are wrong added: delta for each example, on average delta n of them.

    Args:
        radii: (n,) from `certified_radii`, NaN where it abstains.
        top_classes: (n,) classes chosen beforehand.
        labels: (n,) true classes.
        radius: in the unit of the inputs, >= 0.

    Raises:
        BadInput: lengths that differ, radius negative or NaN.

    Source: Cohen et al. 2019, arXiv:1902.02918, section 4.
    """
    if not radii.shape == top_classes.shape == labels.shape or len(radii) == 0:
        shapes = f"{radii.shape}, {top_classes.shape} and {labels.shape}"
        raise BadInput(f"one radius, top class and label for each of n >= 1 examples are needed; got {shapes}")
    if not radius >= 0:
        raise BadInput(f"a radius is at least 0; got {radius}")
    safe = (np.nan_to_num(radii, nan=-1.0) >= radius) & (top_classes == labels)
    losses: Float64[np.ndarray, " n"] = (~safe).astype(np.float64)
    return losses


def _check_rates(name: str, rates: Sequence[float]) -> None:
    # written so that NaN fails it too
    if not all(0 <= rate <= 1 for rate in rates):
        raise BadInput(f"{name}: error rates lie in [0, 1]; got {[float(rate) for rate in rates]}")
