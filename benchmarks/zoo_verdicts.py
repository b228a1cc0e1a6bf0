"""What became of one model of the zoo."""

import re
import time
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import prudent
from benchmarks.zoo_models import build, size_of
from prudent.errors import PrudentError
from prudent.network import parameters
from prudent.surgery.doctoring import Diagnosis, diagnose
from prudent.surgery.proving import CannotTell

OUTPUT = "it is the network's output"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line of the table.

    Args:
        name: source and model.
        size: height and width of the input.
        state: "exact", "statistics", "partly", "refused" or "failed".
        form: "module" or "graph"; empty if nothing was cut.
        share: of the parameters that belong to channels that can be removed exactly.
        difference: the proof's; None if nothing was cut.
        before, after: number of parameters.
        reasons: why something stays or failed, the most frequent first.
        seconds: of processor time, for diagnosis, mask, cut and proof.
    """

    name: str
    size: int
    state: str
    form: str = ""
    share: float | None = None
    difference: float | None = None
    before: int = 0
    after: int = 0
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0


def verdict_of(name: str, state: str, reason: str) -> Verdict:
    """Nothing was cut."""
    return Verdict(name=name, size=size_of(name), state=state, reasons=(reason[:300],))


def judge(name: str) -> Verdict:
    """Cut half of the channels of a model, with the proof; and say what stays, and why."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = stirred(build(name)).eval()
    inputs = torch.rand(2, 3, size_of(name), size_of(name))
    start = time.process_time()
    try:
        found = diagnose(model, inputs)
        changing = not any(layer.exact for layer in found.layers)  # nothing else is on offer
        pruned = prudent.prune(
            model, sparsity=0.5, granularity="channel", scope="layer", example=inputs, changing=changing
        )
        settle(pruned.model, torch.rand(16, *inputs.shape[1:]))
        try:
            small = prudent.shrink(pruned, inputs)
        except CannotTell:  # too few images for statistics that keep so deep a network from amplifying rounding
            settle(pruned.model, torch.rand(64, *inputs.shape[1:]))
            small = prudent.shrink(pruned, inputs)
    except PrudentError as error:
        return verdict_of(name, "refused", str(error))
    check(small.model if small.changing else pruned.model, small.model, inputs)
    state, reasons = _stays(found)
    if small.kept:
        state, reasons = "partly", (*reasons, *(f"{layer} kept: {why}" for layer, why in small.kept.items()))
    return Verdict(
        name=name, size=size_of(name), state=state, form=small.form, share=found.share,
        difference=small.proof.difference, before=parameters(model), after=small.params, reasons=reasons[:3],
        seconds=time.process_time() - start,
    )  # fmt: skip


def stirred(model: nn.Module) -> nn.Module:
    """The model with random numbers where initialisation leaves a constant, so that no branch is silent."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
        for value in model.parameters():
            if value.numel() and (value.ndim < 2 or bool((value == value.flatten()[0]).all())):
                value += 0.1 * torch.randn(value.shape, generator=generator)
    return model


def settle(masked: nn.Module, inputs: Tensor) -> None:
    """Statistics of batch normalisations from these inputs, in place: else the signal fades in deep networks."""
    norms = [m for m in masked.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        masked(inputs)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.running_var.clamp_(min=0.1 * float(norm.running_var.mean()))  # nearly silent channels are not blown up
    masked.eval()


def check(masked: nn.Module, small: nn.Module, inputs: Tensor) -> None:
    """Independent of the proof: the answers in float32 agree as far as that goes, and depend on the input."""
    with torch.no_grad():
        expected, got = masked.eval()(inputs), small.eval()(inputs)
    largest = float(expected.abs().max())
    if not float((expected - got).abs().max()) <= 1e-3 * largest:
        raise AssertionError("the cut network differs in float32")
    if not float((expected[0] - expected[1]).abs().max()) > 1e-6 * largest:
        raise AssertionError("the answers do not depend on the inputs, so the proof shows nothing")


def _stays(found: Diagnosis) -> tuple[str, tuple[str, ...]]:
    """One word for all layers, and the reasons other than being the output."""
    reasons: Counter[str] = Counter()
    changes = False
    for layer in found.layers:
        if layer.state == "exact":
            continue
        changes = changes or layer.changing > 0
        if layer.reason and not layer.reason.startswith(OUTPUT) and layer.exact + layer.changing < layer.units:
            reasons[_general(layer.reason)] += 1
    told = tuple(f"{count} x {reason}" if count > 1 else reason for reason, count in reasons.most_common())
    return ("partly" if told else "statistics" if changes else "exact"), told


def _general(reason: str) -> str:
    """A reason without the number of the block it was found in."""
    return re.sub(r"\.\d+", ".*", reason)
