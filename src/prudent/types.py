"""The nouns that everything after the network speaks of. Only NumPy: no file here knows what a network is.

Predictions -> Losses -> Certificate, and Predictions -> {name: Metric}. Each checks itself when it is made, so that a
function that receives one need not check it again.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int64

from prudent.claims import Certificate as Certificate  # noqa: PLC0414 (one of these nouns)
from prudent.claims import Options
from prudent.errors import BadInput

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

    A loss with another range than [0, 1] is kept on that scale: a value v stands for low + (high - low) v.

    Args:
        values: (n, candidates), each in [0, 1]; columns densest candidate first. Kept as a read-only float64 copy.
        names: one name for each candidate.
        sparsities: (candidates,) in [0, 1), not decreasing.
        loss: what is lost ("error", "disagreement", or a name of one's own).
        split: what the examples are for. Only "certification" can be certified.
        data: fingerprint of the examples, "" if unknown.
        models: fingerprints of the candidates, empty if unknown.
        dense: fingerprint of the dense network that the loss compares with, "" if it compares with none.
        counted: (n, candidates) bool, the examples that each candidate's risk is about; None for all. The others'
            values are 0 and mean nothing.
        bins: (n, candidates) whole numbers >= 0, for a risk that sums the absolute mean loss of each bin (calibration).
        low, high: what the values 0 and 1 stand for.
        group: the examples that the risk is about, in words, "" for all.
        options: of the loss, as (name, value) pairs.
        stopped: whether it was decided by looking at losses how many examples each candidate is judged by. Then only
            e-values can certify it.

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
    counted: np.ndarray | None = None
    bins: np.ndarray | None = None
    low: float = 0.0
    high: float = 1.0
    group: str = ""
    options: Options = ()
    stopped: bool = False

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
        for name, kinds, dtype in (("counted", "b", np.bool_), ("bins", "iu", np.int64)):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _beside(np.asarray(given), self.values.shape, name, kinds, dtype))
        if not self.low < self.high:
            raise BadInput(f"a loss goes from low to high, low < high; got {self.low} and {self.high}")

    @property
    def n(self) -> int:
        """Number of examples."""
        return int(self.values.shape[0])

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many examples each candidate's risk is about."""
        if self.counted is None:
            return (self.n,) * len(self.names)
        return tuple(int(k) for k in np.count_nonzero(self.counted, axis=0))

    def column(self, i: int) -> Float64[np.ndarray, " k"]:
        """The losses of candidate `i`, of the examples that its risk is about, on the scale from 0 to 1."""
        values: Float64[np.ndarray, " k"] = self.values[:, i]
        return values if self.counted is None else values[self.counted[:, i]]

    @cached_property
    def binary(self) -> bool:
        """Whether every loss is exactly 0 or 1, and means that."""
        return (self.low, self.high) == (0, 1) and bool(((self.values == 0) | (self.values == 1)).all())

    @cached_property
    def counts(self) -> tuple[int, ...] | None:
        """How many examples each candidate loses, as exact integers; None unless the losses are 0 or 1."""
        if not self.binary or self.bins is not None:
            return None
        return tuple(int(np.count_nonzero(self.column(i))) for i in range(len(self.names)))

    @cached_property
    def means(self) -> tuple[float, ...]:
        """Empirical risk of each candidate in the loss's own units; the highest where it is about no example."""
        width = self.high - self.low
        columns = [self.column(i) for i in range(len(self.names))]
        return tuple(self.low + width * float(c.mean()) if len(c) else self.high for c in columns)


def _beside(given: np.ndarray, shape: tuple[int, ...], name: str, kinds: str, dtype: type[np.generic]) -> np.ndarray:
    if given.shape != shape or given.dtype.kind not in kinds or (kinds == "iu" and given.min() < 0):
        raise BadInput(f"{name} of losses have shape {shape}; got {given.shape} of dtype {given.dtype}")
    return kept(given, dtype)


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
