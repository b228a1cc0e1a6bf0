"""The features of a network: what its last linear layer reads, found by watching the network run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from prudent.batches import Batch
from prudent.errors import BadInput, UnknownName
from prudent.network import logits_of
from prudent.ood._answers import Detector, checked_logits, doubled, in_parts, learn_from


@dataclass(frozen=True, eq=False)
class Seen:
    """What the last linear layer saw and said, in float64.

    Args:
        features: (n, d).
        logits: (n, classes), = weight features + bias where there is a head.
        weight: (classes, d), or None where the layer that was named is not linear.
        bias: (classes,), zeros for a layer without one.
    """

    features: Tensor
    logits: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def head(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the linear layer."""
        assert self.weight is not None  # noqa: S101 (`see` has refused it before)
        assert self.bias is not None  # noqa: S101
        return self.weight, self.bias


def see(model: nn.Module, inputs: Tensor, *, detector: str, layer: str | None, head: bool) -> Seen:
    """Features of the inputs, from one forward pass in the modes that the network is in.

    Args:
        model: answers logits (n, classes).
        inputs: (n, ...) on its device.
        detector: who asks, for messages.
        layer: a module of the network whose input is meant; None for the linear layer that answers the logits.
        head: whether weight and bias of that layer are needed too.

    Raises:
        UnknownName: no module of that name.
        BadInput: the logits are not the answer of one linear layer and no other is named; the named one does not run
            exactly once, reads no (n, d) and no map (n, channels, ...), or is not linear where that is needed; NaN.
    """
    seen = _see_last(model, inputs, detector) if layer is None else _see_at(model, inputs, layer, detector, head=head)
    if not torch.isfinite(seen.features).all():
        raise BadInput(f"detector {detector!r} needs finite features; the network's are NaN or infinite")
    return seen


def learn_features(
    model: nn.Module,
    batches: Iterable[Batch] | None,
    learn: Callable[[Seen, Tensor | None], None],
    *,
    detector: str,
    layer: str | None,
    head: bool = False,
    labels: bool = False,
) -> None:
    """Show what the last layer sees of the examples to learn from to `learn`, part by part, with labels if needed.

    Raises:
        BadInput, SplitMisuse, UnknownName: as `learn_from` and `see`; a label outside of the network's classes.
    """

    def watch(inputs: Tensor, truth: Tensor | None) -> None:
        seen = see(model, inputs, detector=detector, layer=layer, head=head)
        if truth is None:
            learn(seen, None)
            return
        classes = seen.logits.shape[1]
        if int(truth.max()) >= classes:
            raise BadInput(
                f"detector {detector!r} needs labels in 0 .. {classes - 1}, the network's classes; "
                f"got {int(truth.max())}"
            )
        learn(seen, truth.to(seen.features.device))

    learn_from(model, batches, watch, detector=detector, labels=labels)


def of_features(
    model: nn.Module,
    score: Callable[[Seen], Tensor],
    *,
    detector: str,
    layer: str | None,
    head: bool = False,
    fitted: bool = True,
) -> Detector:
    """The detector that scores what the last layer sees: `score` takes n examples to (n,)."""

    def watch(inputs: Tensor) -> Tensor:
        return score(see(model, inputs, detector=detector, layer=layer, head=head))

    return in_parts(model, watch, detector=detector, fitted=fitted)


class _Linears(TorchFunctionMode):
    """Notes the linear maps of a forward pass that answer one row for each input.

    Watching operations instead of modules also finds layers of networks that surgery left as graphs, and weights that
    a parametrisation or a mask computes.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.calls: list[tuple[Tensor, Tensor, Tensor | None, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 (torch's own signature)
        """Run the operation, and note it if it is linear."""
        answer = func(*args, **(kwargs or {}))
        if (func is linear or func is torch.ops.aten.linear.default) and answer.ndim == 2 and len(answer) == self.rows:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | (kwargs or {})
            self.calls.append((given["input"], given["weight"], given.get("bias"), answer))
        return answer


def _see_last(model: nn.Module, inputs: Tensor, detector: str) -> Seen:
    with _Linears(len(inputs)) as watched:
        answer = logits_of(model, inputs)
    logits = checked_logits(answer, detector=detector)
    calls = [call for call in watched.calls if call[3] is answer]
    # code that ends in a reshape answers another tensor of the same numbers
    calls = calls or [call for call in watched.calls if call[3].shape == answer.shape and torch.equal(call[3], answer)]
    if not calls:
        raise BadInput(
            f"detector {detector!r} needs a network whose logits are the answer of a linear layer, to take that "
            f"layer's input as features; {type(model).__name__} ends otherwise: name a layer with layer=..."
        )
    features, weight, bias, _ = calls[-1]
    return _seen(features, logits, weight, bias)


def _see_at(model: nn.Module, inputs: Tensor, layer: str, detector: str, *, head: bool) -> Seen:
    modules = dict(model.named_modules())
    if layer not in modules:
        raise UnknownName.of("layer", layer, modules)
    module, found = modules[layer], list[Tensor]()
    handle = module.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    try:
        logits = checked_logits(logits_of(model, inputs), detector=detector)
    finally:
        handle.remove()
    if len(found) != 1:
        raise BadInput(f"detector {detector!r} needs a layer that runs once; {layer!r} runs {len(found)} times")
    features = found[0].flatten(2).mean(2) if found[0].ndim in (4, 5) else found[0]
    if features.ndim != 2 or len(features) != len(inputs):
        raise BadInput(
            f"detector {detector!r} needs features (n, d) or maps (n, channels, ...); layer {layer!r} reads "
            f"{tuple(found[0].shape)} for {len(inputs)} inputs"
        )
    if not head:
        return Seen(features=doubled(features), logits=logits)
    if not isinstance(module, nn.Linear) or module.out_features != logits.shape[1]:
        raise BadInput(
            f"detector {detector!r} needs the weights of a linear layer with {logits.shape[1]} outputs, one for each "
            f"class; layer {layer!r} is {module}"
        )
    # what the network does to them afterwards is not what the layer says
    return _seen(features, linear(features, module.weight, module.bias), module.weight, module.bias)


def _seen(features: Tensor, logits: Tensor, weight: Tensor, bias: Tensor | None) -> Seen:
    # statistics outlive the forward pass, and must not hold on to a graph of gradients
    own = doubled(weight.detach())
    return Seen(
        features=doubled(features.detach()),
        logits=doubled(logits.detach()),
        weight=own,
        bias=own.new_zeros(len(own)) if bias is None else doubled(bias.detach()),
    )
