"""A network -> a file that other programs run, kept only if it answers as the network does."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from prudent.errors import BadInput
from prudent.files import write_whole
from prudent.network import run
from prudent.networks import NUMBERS, Saved, pack
from prudent.onnx_graph import answers, check_onnx, opset_of, session, standalone, to_onnx
from prudent.pruning import Pruned
from prudent.wording import percent, size

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2}
"""dtype of the answers -> largest difference, relative to the largest answer, that another order of sums explains."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An ONNX file, and how closely it answers as the network in PyTorch does.

    Args:
        path: the file.
        sha256: of its content, 64 hex digits.
        opset: version of ONNX's operators.
        bytes: size of the file.
        inputs: number of inputs compared.
        batches: the batch sizes that they were compared in.
        difference: largest absolute difference of an answer.
        relative: the same divided by the largest absolute answer.
        tolerance: what `relative` had to stay below.
        agreement: share of inputs with the same top-1 class, in [0, 1].
    """

    path: Path
    sha256: str
    opset: int
    bytes: int
    inputs: int
    batches: tuple[int, ...]
    difference: float
    relative: float
    tolerance: float
    agreement: float


def export_onnx(
    network: Saved,
    path: str | Path,
    example: Tensor,
    *,
    check: Tensor | None = None,
    opset: int | None = None,
    tolerance: float | None = None,
    batch: int = 64,
) -> Exported:
    """Write a network as one plain ONNX file that takes any batch size, if ONNX Runtime answers as PyTorch does.

        relative = max |onnx(x) - eager(x)| / max |eager(x)|

    over all inputs in batches of at most `batch`, and some of them one by one and in pairs. The comparison runs before
    anything is written: a file that disagrees never exists under that name.

    Args:
        network: a plain, masked (`Pruned`), smaller (`Shrunk`) or factorised network that takes one tensor and answers
            one, with one row for each input. Not changed: nor its modes, gradients, or random generators.
        path: of the file; replaced if it is there.
        example: inputs (n, ...), n >= 1.
        check: real inputs (m, ...) to compare on; `example` if left out.
        opset: version of ONNX's operators; None for torch's own choice.
        tolerance: largest relative difference; None for 1e-4 in single, 1e-9 in double, 2e-2 in half precision.
        batch: the largest batch to compare in, at least 3.

    Returns: what was written, with the differences.

    Raises:
        PrudentError: onnx, onnxscript or onnxruntime is not installed, or the file cannot be written.
        BadInput: the network does not run, answers something else than one tensor, cannot be exported, disagrees with
            its own export, or is masked and has weights that its mask removes and that are not zero.
    """
    check_onnx()
    inputs = example if check is None else check
    if min(len(example), len(inputs)) == 0 or batch < 3:
        raise BadInput(
            f"an export needs inputs to be compared on, in batches of up to at least 3; got {len(inputs)}, {batch}"
        )
    if isinstance(network, Pruned):
        pack(network)  # refuses weights that are masked and not zero: what ships would not be what was certified
    model = standalone(network if isinstance(network, nn.Module) else network.model)
    _check_answer(model, inputs[:2].cpu())
    content = to_onnx(model, example, opset=opset)
    sizes = tuple(sorted({1, 2, max(3, min(batch, len(inputs)))}))
    difference, largest, agreement, dtype = _compare(model, content, inputs.detach().cpu(), sizes)
    allowed = TOLERANCES.get(dtype, TOLERANCES[torch.float32]) if tolerance is None else tolerance
    relative = difference / max(largest, 1e-300)
    if not relative <= allowed:
        raise BadInput(
            f"the exported network differs from the one in PyTorch by {relative:.2g} of its largest answer (at most "
            f"{allowed:g}) on {len(inputs)} inputs, with the same class for {percent(agreement)} of them: not kept; "
            "set tolerance=... if that is good enough"
        )
    return Exported(
        path=write_whole(Path(path), content),
        sha256=hashlib.sha256(content).hexdigest(),
        opset=opset_of(content),
        bytes=len(content),
        inputs=len(inputs),
        batches=sizes,
        difference=difference,
        relative=relative,
        tolerance=allowed,
        agreement=agreement,
    )


def storage_notes(network: Saved) -> list[str]:
    """What a masked network does not gain from being exported or run densely, and what it does: sentences, or none."""
    if not isinstance(network, Pruned):
        return []
    mask, files = network.mask, pack(network)
    stored = size(len(files[NUMBERS]))
    bits = size(sum((kept.numel() + 7) // 8 for kept in mask.kept.values()))
    if mask.granularity in ("channel", "head"):
        return [f"The masked {mask.granularity}s are still computed, as zeros: only shrink makes a network smaller."]
    names = {"weight": "single weights", "n:m": "single weights, in a pattern,"}
    what = names.get(mask.granularity, "blocks of weights")
    note = (
        f"{percent(mask.sparsity, 1)} of the {what} are zero: a dense runtime gains no speed from them, and the ONNX "
        f"file stores every zero. As prudent.save writes it, a mask of 1 bit a unit ({bits}) beside the kept values, "
        f"the network takes {stored}."
    )
    return [note]


def difference_sentence(exported: Exported) -> str:
    """How closely the file answers as the network, in words."""
    sizes = ", ".join(str(n) for n in exported.batches[:-1])
    batches = f"{sizes} and {exported.batches[-1]}" if sizes else str(exported.batches[-1])
    return (
        f"On {exported.inputs:,} inputs in batches of {batches}: the same top-1 class for "
        f"{percent(exported.agreement)}, largest difference {exported.difference:.2g} "
        f"({exported.relative:.2g} of the largest answer, at most {exported.tolerance:g} allowed)"
    )


def _check_answer(model: nn.Module, inputs: Tensor) -> None:
    with torch.no_grad():
        answer = run(model, inputs)
    if not isinstance(answer, Tensor):
        raise BadInput(
            f"a network to export answers one tensor; {type(model).__name__} answers a {type(answer).__name__}: wrap "
            "it in a module whose forward returns the logits alone"
        )
    if answer.ndim < 2 or len(answer) != len(inputs):
        raise BadInput(
            f"a network to export answers (n, classes), one row for each input; {type(model).__name__} answered "
            f"{tuple(answer.shape)} for {len(inputs)} inputs"
        )
    if not answer.is_floating_point():
        raise BadInput(f"a network to export answers floating-point logits; {type(model).__name__} gave {answer.dtype}")


def _compare(
    model: nn.Module, content: bytes, inputs: Tensor, sizes: Iterable[int]
) -> tuple[float, float, float, torch.dtype]:
    """Largest difference, largest answer, share of equal classes, and dtype, over inputs in batches of each size."""
    running = session(content)
    worst, largest, same, dtype = 0.0, 0.0, 1.0, torch.float32
    for count in sizes:
        # every input in the largest batches; of smaller ones a few show that the size does no harm
        wanted = max(count, len(inputs)) if count == max(sizes) else 4 * count
        chosen = inputs[torch.arange(wanted) % len(inputs)]
        equal = seen = 0
        for rows in torch.split(chosen, count):
            with torch.no_grad():
                eager = run(model, rows)
            dtype, own = eager.dtype, eager.double().numpy()
            other = answers(running, rows).astype(np.float64)
            if own.shape != other.shape or not np.isfinite(own).all():
                what = "infinite or NaN answers" if own.shape == other.shape else f"answers of shape {other.shape}"
                raise BadInput(f"an export is compared on finite answers of shape {own.shape}; got {what}: not kept")
            # a NaN in the other answers must not get lost: max() of floats would drop it
            worst = float(np.maximum(worst, np.abs(own - other).max()))
            largest = max(largest, float(np.abs(own).max()))
            classes = own.argmax(1) == other.argmax(1)
            equal, seen = equal + int(classes.sum()), seen + classes.size
        same = min(same, equal / seen)
    return worst, largest, same, dtype
