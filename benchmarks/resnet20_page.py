"""What pruning a ResNet-20 came to, as a page of the docs."""

import platform
from dataclasses import asdict, dataclass

import torch

from prudent.speed import Race
from prudent.wording import plural

CANDIDATES = ("batch_norm_scale", "geometric_median", "activation_mean")
"""Scores of channels, one of which is chosen on the validation split."""
SHARES = (0.7, 0.5, 0.3, 0.15)
"""Of the dense network's multiply-accumulates that may remain."""
COMMAND = "python -m benchmarks.resnet20"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the numbers depend on.

    Args:
        train: examples for fine-tuning; 0 for all.
        test: examples for reporting.
        epochs: of fine-tuning.
        lr: its highest learning rate.
        turns: timed passes of each network.
    """

    train: int
    test: int
    epochs: int
    lr: float
    turns: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One network.

    Args:
        method: score, or "published" for the network as it came and "dense" for that one fine-tuned.
        share: of the multiply-accumulates that were allowed.
        sparsity: of channels.
        macs, params: counted.
        proof: largest difference of cut and masked network in float64, relative to the largest answer.
        untrained: share of validation examples decided right after the cut, with new statistics, before fine-tuning.
        error, lo, hi: on the test split, with its interval of 95 %.
        difference: of ONNX Runtime from PyTorch, relative to the largest answer.
        agreement: share of the compared inputs for which both name the same class.
        bytes: of the ONNX file.
        seconds: of fine-tuning.
    """

    method: str
    share: float
    sparsity: float
    macs: int
    params: int
    proof: float | None
    untrained: float | None
    error: float
    lo: float
    hi: float
    difference: float
    agreement: float
    bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One smaller network beside the dense one.

    Args:
        share: of the multiply-accumulates that were allowed.
        macs_ratio: of the dense network to those of the smaller one.
        load: of the machine, before.
        race: the times.
        warnings: reasons to doubt the gain, of all races of this network.
    """

    share: float
    macs_ratio: float
    load: float
    race: Race
    warnings: tuple[str, ...] = ()


def page(settings: Settings, outcomes: list[Outcome], timings: list[Timing], choice: dict[str, float]) -> str:
    """The page of the docs."""
    ordered = sorted(outcomes, key=lambda o: (-o.share, o.method != "published", o.method != "dense", o.method))
    examples = f"{settings.train:,}" if settings.train else "all 40,000"
    loads = [t.load for t in timings] or [0.0]
    tried = ", ".join(f"{name} {percent(right)}" for name, right in choice.items())
    return f"""# ResNet-20 on CIFAR-10

A published ResNet-20 (option-A shortcuts: strided, padded with channels of zeros) loses channels, is cut with proof,
gets new statistics of its batch normalisations, is fine-tuned, exported to ONNX, compared, and timed beside the dense
network. Every network that is finished is kept, and the same command goes on after an interruption. Written by

    {COMMAND} {options(settings)}

- The images are JPEG-compressed and the published network was trained on lossless ones, so it is worse here than in its
  paper. Fine-tuning is on JPEG images: compare with *dense*, which was fine-tuned like the others.
- Scope "layer": all methods remove as many channels of every layer, so that networks of a level have the same size and
  speed, and only the choice of channels differs. *random* is the control.
- The third method is the best of three on 1,000 validation examples at half of the multiply-accumulates, not trained:
  {tried}.
  Validation images are from the official training set, which the published network has seen.
- Fine-tuning: {plural(settings.epochs, "epoch")} of SGD on {examples} training images, without augmentation, peak rate
  {settings.lr:g}, one seed. Test: {settings.test:,} images of the official test set; the interval (95 %,
  Clopper-Pearson) is about these images, not about seeds.
- *no training*: accuracy on 1,000 validation examples after the cut with new statistics, before fine-tuning.
- *proof*: cut and masked network in float64. *ONNX*: largest difference of the exported file from PyTorch on 256 test
  inputs, relative to the largest answer, and for how many both name the same class.

{verdict(ordered)}

{unfinished(outcomes, timings)}

| method | MACs | of dense | channels removed | parameters | no training | test accuracy | proof | ONNX | file |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(line(o, ordered) for o in ordered)}

## Time of a pass

Medians of {settings.turns} passes of each network, turn by turn, one thread, with intervals of 95 %; *speed-up* is the
median ratio of neighbouring passes. Load of the machine while these were taken: {min(loads):.1f} to {max(loads):.1f}
on {cores()}, torch {torch.__version__}, Python {platform.python_version()}.

| MACs of dense | runtime | batch | dense ms | pruned ms | speed-up | MAC ratio |
|---|---|---|---|---|---|---|
{chr(10).join(timed(t) for t in sorted(timings, key=lambda t: (-t.share, t.race.runtime, t.race.batch)))}

{warned(timings)}
"""


def options(settings: Settings) -> str:
    """As they are typed."""
    return " ".join(f"--{name} {value:g}" for name, value in asdict(settings).items())


def unfinished(outcomes: list[Outcome], timings: list[Timing]) -> str:
    """What was not yet measured when the page was written."""
    networks = [f"{percent(share)} has {count} of 3 networks" for share in SHARES
                if (count := sum(o.share == share for o in outcomes)) < 3]  # fmt: skip
    untimed = [f"{percent(share)} is not timed" for share in SHARES if share not in {t.share for t in timings}]
    said = "; ".join([*networks, *untimed])
    return f"Not finished, so that the same command goes on with it: {said}." if said else "All levels are finished."


def verdict(outcomes: list[Outcome]) -> str:
    """Of how many levels each score is better than random beyond the intervals, counted from the lines."""
    random = {o.share: o for o in outcomes if o.method == "random"}
    said = []
    for method in dict.fromkeys(o.method for o in outcomes if o.proof is not None and o.method != "random"):
        own = [o for o in outcomes if o.method == method and o.share in random]
        better = sum(o.error < random[o.share].error for o in own)
        apart = sum(o.hi < random[o.share].lo for o in own)
        said.append(
            f"`{method}` is more accurate than `random` at {better} of {len(own)} levels, at {apart} of them with "
            "intervals that do not overlap."
        )
    return "\n".join(said)


def line(o: Outcome, outcomes: list[Outcome]) -> str:
    """One network."""
    dense = next((other.macs for other in outcomes if other.method in ("published", "dense")), o.macs)
    proof = "" if o.proof is None else f"{o.proof:.0e}"
    before = "" if o.untrained is None else percent(o.untrained)
    accuracy = f"{percent(1 - o.error)} ({percent(1 - o.hi)} to {percent(1 - o.lo)})"
    return (
        f"| {o.method} | {o.macs / 1e6:.2f} M | {percent(o.macs / dense)} | {percent(o.sparsity)} | {o.params:,} | "
        f"{before} | {accuracy} | {proof} | {o.difference:.0e}, {percent(o.agreement)} | {o.bytes / 1000:.0f} kB |"
    )


def timed(t: Timing) -> str:
    """One race."""
    own = t.race
    return (
        f"| {percent(t.share)} | {own.runtime} | {own.batch} | {own.beside:.2f} ({own.beside_lo:.2f} to "
        f"{own.beside_hi:.2f}) | {own.milliseconds:.2f} ({own.lo:.2f} to {own.hi:.2f}) | {own.speedup:.2f}x "
        f"({own.speedup_lo:.2f} to {own.speedup_hi:.2f}) | {t.macs_ratio:.2f} |"
    )


def warned(timings: list[Timing]) -> str:
    """What `prudent bench` says against the gain at each level."""
    said = dict.fromkeys((t.share, warning) for t in sorted(timings, key=lambda t: -t.share) for warning in t.warnings)
    lines = [f"- {percent(share)}: {warning}" for share, warning in said]
    return (
        "\n".join(["Warnings of `prudent bench`:", "", *lines]) if lines else "`prudent bench` warns of nothing here."
    )


def percent(share: float) -> str:
    """With one digit."""
    return f"{100 * share:.1f} %"


def cores() -> str:
    """The machine."""
    from prudent.execution import environment

    where = environment()
    return f"{where['processor']}, {where['cores']} cores"
