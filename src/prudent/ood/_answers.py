"""What detectors ask of a network: logits in float64, for inputs that were looked at first."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from prudent.batches import Batch, check_purpose
from prudent.detection import Scores
from prudent.errors import BadInput
from prudent.network import evaluating, logits_of, seeded
from prudent.observation import device_of, quiet

Detector = Callable[[Tensor], Scores]
"""Inputs (n, ...) -> OOD scores (n,) in float64, higher = more OOD."""

ROWS = 512
"""Most examples in one forward pass: memory does not grow with the number of inputs."""


def logits_in(model: nn.Module, inputs: Tensor, *, detector: str) -> Tensor:
    """Logits (n, classes) in float64, from one forward pass in the modes that the network is in.

    Raises:
        BadInput: the network does not run or does not answer (n, classes >= 2), or answers NaN or infinity.
    """
    return checked_logits(logits_of(model, inputs), detector=detector)


def checked_logits(answer: Tensor, *, detector: str) -> Tensor:
    """Logits (n, classes) in float64, or a refusal: see `logits_in`."""
    logits = doubled(answer)
    if logits.shape[1] < 2:
        raise BadInput(f"detector {detector!r} needs logits of 2 or more classes; the network answers 1")
    if not torch.isfinite(logits).all():
        raise BadInput(f"detector {detector!r} needs finite logits; the network answers NaN or infinity on its inputs")
    return logits


def of_logits(model: nn.Module, score: Callable[[Tensor], Tensor], *, detector: str, fitted: bool = False) -> Detector:
    """The detector that scores logits: `score` takes (n, classes) in float64 to (n,)."""
    return in_parts(
        model, lambda inputs: score(logits_in(model, inputs, detector=detector)), detector=detector, fitted=fitted
    )


def in_parts(
    model: nn.Module,
    score: Callable[[Tensor], Tensor],
    *,
    detector: str,
    fitted: bool,
    gradients: bool = False,
) -> Detector:
    """A function of inputs that is computed part by part, with nothing left behind in the network.

    Args:
        model: in evaluation mode while `score` runs.
        score: inputs (n, ...) on the device of the network -> (n,).
        detector: who asks, for messages.
        fitted: whether `score` holds statistics of this network, which must then be the same at every call.
        gradients: whether `score` takes gradients.
    """
    then = _marks(model) if fitted else []

    def scores(inputs: Tensor) -> Scores:
        check_inputs(inputs, detector=detector)
        if fitted and not _same(then, _marks(model)):
            raise BadInput(
                f"detector {detector!r} was fitted to other weights: the network was changed or moved since; "
                "fit it again, on this network"
            )
        parts = []
        with torch.inference_mode(mode=False), torch.set_grad_enabled(gradients), evaluating(model), seeded(0):
            for part in torch.split(inputs.detach(), ROWS):
                # a tensor made in inference mode takes part in no gradient; its copy does
                own = part.clone() if part.is_inference() else part
                parts.append(score(own.to(device_of(model))).detach().cpu())
        joined: Scores = torch.cat(parts).numpy()
        return joined

    return scores


def learn_from(
    model: nn.Module,
    batches: Iterable[Batch] | None,
    learn: Callable[[Tensor, Tensor | None], None],
    *,
    detector: str,
    labels: bool = False,
) -> None:
    """Show the examples to learn from to `learn`, in parts of at most ROWS; the network is in evaluation mode then.

    Args:
        model: not changed.
        batches: of the train or validation split; read once.
        learn: gets inputs on the device of the network, and their labels where these are asked for.
        detector: who asks, for messages.
        labels: whether labels are needed.

    Raises:
        BadInput: no batches or no examples, inputs that are no finite numbers; labels that are missing, are no
            integers or are not as many.
        SplitMisuse: examples that are there for the certificate or for reporting.
    """
    if batches is None:
        raise BadInput(f"detector {detector!r} needs data: pass batches of the train or validation split")
    check_purpose(batches, purpose="fitting an OOD detector", allowed=("train", "validation"))
    device, empty = device_of(model), True
    with torch.inference_mode(mode=False), torch.no_grad(), evaluating(model), seeded(0):
        for batch in quiet(batches):
            inputs, *rest = (batch,) if isinstance(batch, Tensor) else batch
            truth = rest[0] if rest else None
            check_inputs(inputs, detector=detector)
            if labels:
                _check_labels(inputs, truth, detector=detector)
            empty = False
            for start in range(0, len(inputs), ROWS):
                part = slice(start, start + ROWS)
                learn(inputs[part].to(device), truth[part].to(device) if labels and truth is not None else None)
    if empty:
        raise BadInput(f"detector {detector!r} needs data; the batches were empty")


def check_inputs(inputs: object, *, detector: str) -> None:
    """Refuse what is no batch of finite numbers."""
    if not isinstance(inputs, Tensor) or inputs.ndim == 0 or len(inputs) == 0:
        came = tuple(inputs.shape) if isinstance(inputs, Tensor) else f"a {type(inputs).__name__}"
        raise BadInput(f"detector {detector!r} needs a tensor of one or more inputs (n, ...); got {came}")
    if inputs.is_floating_point() and not torch.isfinite(inputs).all():
        bad = int((~torch.isfinite(inputs)).flatten(1).any(1).sum()) if inputs.ndim > 1 else "some"
        raise BadInput(f"detector {detector!r} needs finite inputs; {bad} of {len(inputs)} hold NaN or infinity")


def check_above_zero(value: float, *, detector: str, option: str) -> None:
    """Refuse an option that is not a finite number above 0."""
    if not (value > 0 and math.isfinite(value)):
        raise BadInput(f"detector {detector!r} needs a finite {option} above 0; got {value}")


def doubled(values: Tensor) -> Tensor:
    """In float64; on the host where the device has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def log_odds(logits: Tensor) -> Tensor:
    """Minus the log odds of the top class, from logits (n, classes): -ln(p / (1 - p)), p = max softmax."""
    top, at = logits.max(dim=1, keepdim=True)
    return torch.logsumexp(logits.scatter(1, at, -torch.inf), dim=1) - top[:, 0]


def _check_labels(inputs: Tensor, truth: Tensor | None, *, detector: str) -> None:
    if truth is None:
        raise BadInput(f"detector {detector!r} needs labels: batches of (inputs, labels); got inputs alone")
    if truth.shape != inputs.shape[:1] or truth.is_floating_point() or truth.is_complex() or truth.dtype == torch.bool:
        raise BadInput(
            f"detector {detector!r} needs one integer label for each of {len(inputs)} inputs; "
            f"got labels of shape {tuple(truth.shape)} and {truth.dtype}"
        )
    if (truth < 0).any():
        raise BadInput(f"detector {detector!r} needs labels >= 0; got {int(truth.min())}")


Mark = tuple[Tensor, int, torch.device]


def _marks(model: nn.Module) -> list[Mark]:
    """Which tensors the network is made of, and how often each was written to: torch counts that itself."""
    tensors = [*model.parameters(), *model.buffers()]
    return [(t, 0 if t.is_inference() else t._version, t.device) for t in tensors]


def _same(then: list[Mark], now: list[Mark]) -> bool:
    return len(then) == len(now) and all(a[0] is b[0] and a[1:] == b[1:] for a, b in zip(then, now, strict=True))
