"""ECE, NLL, AUROC and AURC of many predictions, beside scikit-learn where it has them, and beside torchmetrics."""

import importlib.util
import os
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks import Row, alternate
from prudent.calibration import bin_confidence, nll
from prudent.detection import auroc
from prudent.selective import aurc, rank_by_confidence
from prudent.types import Predictions

FULL = 10_000_000
"""Predictions that the promise is about; PRUDENT_BENCH_FULL=1 takes them all, else a tenth."""

CLASSES = 10


def same(own: float, other: float, *, near: float) -> bool:
    """Whether a peer says the same: a faster wrong number would be worth nothing."""
    return abs(own - other) <= near


def peak_per_prediction(metric: object, n: int) -> float:
    """Most bytes that NumPy holds for each prediction, beyond what it was given."""
    assert callable(metric)
    tracemalloc.start()
    metric()
    peak = tracemalloc.get_traced_memory()[1] / n
    tracemalloc.stop()
    return peak


def ece_by_curve(confidence: np.ndarray, correct: np.ndarray) -> float:
    """ECE out of scikit-learn's reliability curve, which leaves out empty bins and tells no counts."""
    true, said = calibration_curve(correct, confidence, n_bins=15)
    counts = np.histogram(confidence, np.linspace(0, 1, 16))[0]
    return float((counts[counts > 0] * np.abs(true - said)).sum() / len(confidence))


def aurc_by_cumsum(confidence: np.ndarray, wrong: np.ndarray) -> float:
    """The usual few lines with an argsort, which let the order of the rows decide ties.

    A floor instead of a peer: scikit-learn and torchmetrics have no AURC, and torch-uncertainty, whose AURC is such an
    argsort too, does not import without lightning. One sort of n numbers bounds all of them.
    """
    ranked = wrong[np.argsort(-confidence)]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1)).mean())


Contest = tuple[str, Callable[[], float], str, Callable[[], float], float, float]
"""What is computed, by us, the peer's name, by it; how near the numbers must be, and the promised ratio."""


def contests(p: Predictions) -> list[Contest]:
    """Each metric beside scikit-learn, or a floor."""
    logits, labels = np.asarray(p.logits), p.labels
    confidence, right = p.probabilities.max(axis=1), p.decisions == p.labels
    return [
        (
            "ECE", lambda: bin_confidence(confidence, right).ece,
            "sklearn.calibration.calibration_curve", lambda: ece_by_curve(confidence, right), 1e-6, 3.0,
        ),
        (
            "NLL of logits",
            lambda: nll(Predictions(logits=logits, labels=labels, split="test")),
            "scipy.special.softmax, sklearn.metrics.log_loss",
            lambda: log_loss(labels, softmax(logits.astype(np.float64), axis=1), labels=np.arange(CLASSES)), 1e-6, 3.0,
        ),
        (
            "AUROC", lambda: auroc(confidence[~right], confidence[right]),
            "sklearn.metrics.roc_auc_score", lambda: roc_auc_score(right, confidence), 1e-9, 3.0,
        ),
        (
            "AURC, ties averaged", lambda: aurc(rank_by_confidence(confidence, ~right)),
            "no peer: a NumPy floor, argsort and cumsum, ties as they come",
            lambda: aurc_by_cumsum(confidence, ~right), 1e-6, 1.3,
        ),
        *beside_torchmetrics(confidence, right),
    ]  # fmt: skip


def beside_torchmetrics(confidence: np.ndarray, right: np.ndarray) -> list[Contest]:
    """What torchmetrics has of these. It counts in float32, so that its numbers are less exact."""
    if importlib.util.find_spec("torchmetrics") is None:
        print("torchmetrics is not installed: not compared with it")
        return []
    from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

    said, hit = torch.from_numpy(confidence), torch.from_numpy(right.astype(np.int64))
    return [
        (
            "ECE", lambda: bin_confidence(confidence, right).ece,
            "torchmetrics", lambda: float(binary_calibration_error(said, hit, n_bins=15)), 1e-3, 3.0,
        ),
        (
            "AUROC", lambda: auroc(confidence[~right], confidence[right]),
            "torchmetrics", lambda: float(binary_auroc(said, hit)), 1e-3, 3.0,
        ),
    ]  # fmt: skip


def run() -> list[Row]:
    n = FULL if os.environ.get("PRUDENT_BENCH_FULL") else FULL // 10
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, CLASSES)).astype(np.float32) * 2
    labels = np.where(rng.random(n) < 0.8, logits.argmax(axis=1), rng.integers(0, CLASSES, n))
    rows = []
    for name, own, beside, other, near, least in contests(Predictions(logits=logits, labels=labels, split="test")):
        agrees = same(own(), other(), near=near)
        seconds, theirs = alternate(own, other, turns=3)
        note = f"{n:,} predictions, {peak_per_prediction(own, n):.0f} B of memory each"
        rows.append(
            Row(
                work=name,
                beside=beside,
                seconds=seconds,
                other=theirs,
                promise=f">= {least:g}x",
                kept=agrees and theirs / seconds >= least,
                note=note + ("" if agrees else ", NOT the same number"),
            )
        )
    return rows
