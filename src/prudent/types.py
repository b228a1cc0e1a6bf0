"""The nouns that everything after the network speaks of. Only NumPy: no file here knows what a network is.

Predictions -> Losses -> Certificate, and Predictions -> {name: Metric}. Each checks itself when it is made, so that a
function that receives one need not check it again.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int64

from prudent.errors import BadInput
from prudent.wording import exact_percent, percent, plural

Split = Literal["train", "validation", "certification", "test", "ood"]
"""What examples are for: training, every choice, the certificate alone, reporting alone; "ood": not from the task."""

SPLITS: tuple[Split, ...] = get_args(Split)


def check_split(split: str) -> None:
    """Refuse a split name that does not exist."""
    if split not in SPLITS:
        raise BadInput(f"a split is one of {', '.join(SPLITS)}; got {split!r}")


def kept(values: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """`values` as a read-only array that nobody else can write to: a copy, unless nobody could before."""
    held: object = values
    while isinstance(held, np.ndarray) and not held.flags.writeable:
        held = held.base
    safe = held is None or isinstance(held, bytes)
    own = np.ascontiguousarray(values, dtype) if safe else np.array(values, dtype, order="C")
    own.setflags(write=False)
    return own


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What one network (or an ensemble, or one network under dropout) answered on one split.

    The arrays are read-only copies: what the caller does with its own afterwards changes nothing here.

    Args:
        logits: (n, classes) or (members, n, classes), unnormalised log probabilities. Kept as float32.
        labels: (n,) true classes in 0 .. classes - 1, or None where they are unknown. Kept as int64.
        split: what the examples are for.
        data: fingerprint of the examples, "" if unknown.
        model: fingerprint of the network, "" if unknown.

    Raises:
        BadInput: an empty split, a wrong shape, NaN or infinite logits, labels outside the classes.
    """

    # plain arrays here: what comes in is converted and checked below, with messages of our own
    logits: np.ndarray
    labels: np.ndarray | None = None
    split: Split
    data: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        check_split(self.split)
        object.__setattr__(self, "logits", _logits(np.asarray(self.logits)))
        if self.labels is not None:
            object.__setattr__(self, "labels", check_labels(np.asarray(self.labels), n=self.n, classes=self.classes))

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.logits.shape[-2])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[-1])

    @property
    def members(self) -> int | None:
        """Number of members or dropout samples; None for a single network's plain answers."""
        return None if self.logits.ndim == 2 else self.logits.shape[0]

    @cached_property
    def log_probabilities(self) -> Float64[np.ndarray, "*members n classes"]:
        """Natural logarithm of each member's softmax, in float64, accurate also where a probability rounds to 1."""
        return log_softmax(self.logits)

    @cached_property
    def probabilities(self) -> Float64[np.ndarray, "n classes"]:
        """Predicted probabilities; with members, the mean of theirs."""
        each: Float64[np.ndarray, "*members n classes"] = np.exp(self.log_probabilities)
        joined: Float64[np.ndarray, "n classes"] = each if self.members is None else each.mean(axis=0)
        return joined

    @cached_property
    def decisions(self) -> Int64[np.ndarray, " n"]:
        """Predicted class of each example: the highest mean probability, the lowest class index where several tie."""
        # without members the logits themselves decide: a softmax could only lose differences
        answers = self.logits if self.members is None else self.probabilities
        decided: Int64[np.ndarray, " n"] = answers.argmax(axis=-1).astype(np.int64)
        return decided


def _logits(logits: np.ndarray) -> Float32[np.ndarray, "*members n classes"]:
    if logits.ndim not in (2, 3):
        raise BadInput(f"logits are (n, classes) or (members, n, classes); got shape {logits.shape}")
    if 0 in logits.shape:
        raise BadInput(f"predictions need at least one example, class and member; got logits of shape {logits.shape}")
    if logits.dtype.kind != "f":
        raise BadInput(f"logits are floating point numbers; got dtype {logits.dtype}")
    with np.errstate(over="ignore"):
        single: Float32[np.ndarray, "*members n classes"] = kept(logits, np.float32)
    bad = int(np.count_nonzero(~np.isfinite(single)))
    if bad:
        raise BadInput(f"logits must be finite in float32; {bad} of {single.size} are NaN or infinite")
    return single


def check_labels(labels: np.ndarray, *, n: int, classes: int) -> Int64[np.ndarray, " n"]:
    """Labels as int64, or a refusal: one integer in 0 .. classes - 1 for each of `n` examples."""
    if labels.shape != (n,):
        raise BadInput(f"one label for each of {n} examples is needed; got labels of shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise BadInput(f"labels are integers; got dtype {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise BadInput(f"labels lie in 0 .. {classes - 1} for {classes} classes; got {low} .. {high}")
    return kept(labels, np.int64)


def log_softmax(logits: np.ndarray) -> Float64[np.ndarray, "..."]:
    """Log softmax over the last axis in float64.

    The largest entry is -log1p(sum of the others), so that the log probability of a nearly certain class keeps its
    digits instead of rounding to 0.
    """
    shifted = logits.astype(np.float64)
    top = shifted.argmax(axis=-1, keepdims=True)
    shifted -= np.take_along_axis(shifted, top, axis=-1)
    weights = np.exp(shifted)
    np.put_along_axis(weights, top, 0.0, axis=-1)
    result: Float64[np.ndarray, ...] = shifted - np.log1p(weights.sum(axis=-1, keepdims=True))
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """Loss of every example under every candidate network: what a certificate is computed from.

    Args:
        values: (n, candidates), each in [0, 1]; columns densest candidate first. Kept as a read-only float64 copy.
        names: one name for each candidate.
        sparsities: (candidates,) in [0, 1), not decreasing.
        loss: what is lost ("error", "disagreement", or a name of one's own).
        split: what the examples are for. Only "certification" can be certified.
        data: fingerprint of the examples, "" if unknown.
        models: fingerprints of the candidates, empty if unknown.
        dense: fingerprint of the dense network that the loss compares with, "" if it compares with none.

    Raises:
        BadInput: no examples or candidates, values outside [0, 1] or NaN, lengths that differ, sparsities that
            decrease or lie outside [0, 1).
    """

    values: np.ndarray
    names: tuple[str, ...]
    sparsities: tuple[float, ...]
    loss: str
    split: Split
    data: str = ""
    models: tuple[str, ...] = ()
    dense: str = ""

    def __post_init__(self) -> None:
        check_split(self.split)
        values = np.asarray(self.values)
        if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "biuf":
            shape = f"shape {values.shape}" if values.dtype.kind in "biuf" else f"dtype {values.dtype}"
            raise BadInput(f"losses are numbers (n, candidates) with at least one of each; got {shape}")
        object.__setattr__(self, "values", kept(values, np.float64))
        # written so that NaN fails it too
        if not ((self.values >= 0) & (self.values <= 1)).all():
            raise BadInput(f"losses lie in [0, 1]; got {np.nanmin(self.values)} .. {np.nanmax(self.values)} or NaN")
        candidates = self.values.shape[1]
        for what, given in (("names", self.names), ("sparsities", self.sparsities), ("models", self.models)):
            if len(given) != candidates and not (what == "models" and not given):
                raise BadInput(f"{candidates} candidates need as many {what}; got {len(given)}")
        if not all(0 <= s < 1 for s in self.sparsities):
            raise BadInput(f"sparsities lie in [0, 1); got {list(self.sparsities)}")
        if list(self.sparsities) != sorted(self.sparsities):
            raise BadInput(f"candidates go from the densest to the sparsest; got sparsities {list(self.sparsities)}")

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.values.shape[0])

    @cached_property
    def binary(self) -> bool:
        """Whether every loss is exactly 0 or 1."""
        return bool(((self.values == 0) | (self.values == 1)).all())

    @cached_property
    def counts(self) -> tuple[int, ...] | None:
        """How many examples each candidate loses, as exact integers; None unless the losses are 0 or 1."""
        return tuple(int(k) for k in np.count_nonzero(self.values, axis=0)) if self.binary else None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number and, where there is one, its interval.

    Args:
        value: the number.
        lo, hi: ends of the interval, None where there is none.
        interval: what the interval is ("95 % Clopper-Pearson", "range of 3 seeds"), "" without one.
        better: which direction is better; "neither" for a description.
    """

    value: float
    lo: float | None = None
    hi: float | None = None
    interval: str = ""
    better: Literal["lower", "higher", "neither"] = "lower"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The result of testing candidates on the certification split, selected or not.

    Args:
        risk: the loss whose population mean is bounded.
        alpha: tolerated risk, in (0, 1).
        delta: tolerated chance that the claim is wrong, in (0, 1).
        n: number of certification examples.
        bound: name of the p-value.
        procedure: how the candidates were tested ("fixed_sequence").
        names, sparsities: the candidates in the order of testing, densest first.
        counts: exact integer losses of each candidate, None for losses other than 0 and 1.
        empirical_risks: mean loss of each candidate on the n examples.
        p_values: of H0 "risk > alpha", for each candidate.
        selected: index of the sparsest certified candidate, None if there is none.
        data, models, dense: fingerprints of the examples, the candidates and the dense network.
    """

    risk: str
    alpha: float
    delta: float
    n: int
    bound: str
    procedure: str
    names: tuple[str, ...]
    sparsities: tuple[float, ...]
    counts: tuple[int, ...] | None
    empirical_risks: tuple[float, ...]
    p_values: tuple[float, ...]
    selected: int | None
    data: str = ""
    models: tuple[str, ...] = ()
    dense: str = ""

    @property
    def states(self) -> tuple[Literal["passed", "stopped", "not tested"], ...]:
        """For each candidate: passed, the one where testing stopped, or not tested any more."""
        passed = 0 if self.selected is None else self.selected + 1
        return tuple(
            "passed" if i < passed else "stopped" if i == passed else "not tested" for i in range(len(self.names))
        )

    def bounded(self) -> str:
        """What is bounded, in words: "at most 5 % of predictions differ from the dense network"."""
        limit, what = exact_percent(self.alpha), OUTCOMES.get(self.risk)
        return f"at most {limit} of predictions {what}" if what else f"the mean {self.risk} loss is at most {limit}"

    def sentence(self) -> str:
        """The claim in one English sentence; the same in terminal, file and report."""
        confidence = exact_percent(self.delta, complement=True)
        if self.selected is None:
            return (
                f"Nothing certified: with {self.n:,} examples, for none of {plural(len(self.names), 'candidate')} "
                f"could it be shown with {confidence} confidence that {self.bounded()}."
            )
        return f"With {confidence} confidence, {self.bounded()} at {percent(self.sparsities[self.selected])} sparsity."


OUTCOMES = {"error": "are wrong", "disagreement": "differ from the dense network"}
"""What happens to a prediction that is lost, by risk; the verb of the claim."""
