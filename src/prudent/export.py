"""A network -> a file that other programs run, kept only if it answers as the network does."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from prudent.errors import BadInput
from prudent.examples import Example
from prudent.examples import size as size_of
from prudent.files import write_whole
from prudent.flattening import Flat, input_names, rows_of, tensors_of
from prudent.network import run
from prudent.networks import NUMBERS, Saved, pack
from prudent.onnx_graph import annotated, answers, check_onnx, opset_of, session, standalone, to_onnx
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
    example: Example,
    *,
    check: Example | None = None,
    opset: int | None = None,
    tolerance: float | None = None,
    batch: int = 64,
    notes: Mapping[str, str] | None = None,
) -> Exported:
    """Write a network as one plain ONNX file that takes any batch size, if ONNX Runtime answers as PyTorch does.

        relative = max |onnx(x) - eager(x)| / max |eager(x)|

    over all inputs in batches of at most `batch`, and some of them one by one and in pairs. The comparison runs before
    anything is written: a file that disagrees never exists under that name.

    Args:
        network: a plain, masked (`Pruned`), smaller (`Shrunk`) or factorised network whose answer, or each tensor of
            it, has one row for each input. Not changed: nor its modes, gradients, or random generators.
        path: of the file; replaced if it is there.
        example: inputs (n, ...), n >= 1: a tensor, or a tuple, a mapping or `prudent.examples.Inputs` of several.
        check: real inputs (m, ...) to compare on, of the same form; `example` if left out.
        opset: version of ONNX's operators; None for torch's own choice.
        tolerance: largest relative difference; None for 1e-4 in single, 1e-9 in double, 2e-2 in half precision.
        batch: the largest batch to compare in, at least 3.
        notes: key -> text to be kept inside the file, as `prudent.team_folders.origin_notes` says where a team is from.

    Returns: what was written, with the differences.

    Raises:
        PrudentError: onnx, onnxscript or onnxruntime is not installed, or the file cannot be written.
        BadInput: the network does not run, answers no tensors of one row for each input, cannot be exported, disagrees
            with its own export, or is masked and has weights that its mask removes and that are not zero.
    """
    check_onnx()
    inputs = tuple(t.detach().cpu() for t in tensors_of(example if check is None else check))
    count = len(inputs[0]) if inputs and inputs[0].ndim else 0
    if min(size_of(example), count) == 0 or batch < 3:
        raise BadInput(
            f"an export needs inputs to be compared on, in batches of up to at least 3; got {count}, {batch}"
        )
    if isinstance(network, Pruned):
        pack(network)  # refuses weights that are masked and not zero: what ships would not be what was certified
    model = standalone(network if isinstance(network, nn.Module) else network.model)
    input_names(model, example)  # refuses inputs that its forward does not take
    whole = model if isinstance(example, Tensor) else Flat(model, example)
    _check_answer(whole, rows_of(inputs, torch.arange(min(2, count))))
    content = annotated(to_onnx(model, example, opset=opset), notes or {})
    sizes = tuple(sorted({1, 2, max(3, min(batch, count))}))
    difference, largest, agreement, dtype = _compare(whole, content, inputs, sizes)
    allowed = TOLERANCES.get(dtype, TOLERANCES[torch.float32]) if tolerance is None else tolerance
    relative = difference / max(largest, 1e-300)
    if not relative <= allowed:
        raise BadInput(
            f"the exported network differs from the one in PyTorch by {relative:.2g} of its largest answer (at most "
            f"{allowed:g}) on {count} inputs, with the same class for {percent(agreement)} of them: not kept; "
            "set tolerance=... if that is good enough"
        )
    return Exported(
        path=write_whole(Path(path), content),
        sha256=hashlib.sha256(content).hexdigest(),
        opset=opset_of(content),
        bytes=len(content),
        inputs=count,
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


def _check_answer(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    count = len(inputs[0])
    for place, answer in enumerate(_eager(model, inputs)):
        # the first one has the classes that are compared
        if answer.ndim < (2 if place == 0 else 1) or len(answer) != count:
            raise BadInput(
                f"a network to export answers (n, classes), one row for each input; {_name(model)} answered "
                f"{tuple(answer.shape)} for {count} inputs"
            )
        if not answer.is_floating_point():
            raise BadInput(f"a network to export answers floating-point logits; {_name(model)} gave {answer.dtype}")


def _eager(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The tensors that the network answers in PyTorch."""
    with torch.no_grad():
        answer = run(model, *inputs, name=_name(model))
    found = tuple(t for t in pytree.tree_leaves(answer) if isinstance(t, Tensor))
    if not found:
        raise BadInput(f"a network to export answers tensors; {_name(model)} answers a {type(answer).__name__}")
    return found


def _name(model: nn.Module) -> str:
    return type(model.network if isinstance(model, Flat) else model).__name__


def _compare(
    model: nn.Module, content: bytes, inputs: tuple[Tensor, ...], sizes: Iterable[int]
) -> tuple[float, float, float, torch.dtype]:
    """Largest difference, largest answer, share of equal classes, and dtype, over inputs in batches of each size.

    Of several answers the one that differs most for its size counts, and the classes are those of the first.
    """
    running = session(content)
    total = len(inputs[0])
    worst: list[float] = []
    largest: list[float] = []
    same, dtype = 1.0, torch.float32
    for count in sizes:
        # every input in the largest batches; of smaller ones a few show that the size does no harm
        wanted = max(count, total) if count == max(sizes) else 4 * count
        equal = seen = 0
        for rows in torch.split(torch.arange(wanted), count):
            batch = rows_of(inputs, rows)
            eager, others = _eager(model, batch), answers(running, *batch)
            dtype = eager[0].dtype
            if not worst:
                worst, largest = [0.0] * len(eager), [0.0] * len(eager)
            for place, (answer, got) in enumerate(zip(eager, others, strict=True)):
                own, other = _finite(answer, got)
                # a NaN in the other answers must not get lost: max() of floats would drop it
                worst[place] = float(np.maximum(worst[place], np.abs(own - other).max()))
                largest[place] = max(largest[place], float(np.abs(own).max()))
                if place == 0:
                    classes = own.argmax(1) == other.argmax(1)
                    equal, seen = equal + int(classes.sum()), seen + classes.size
        same = min(same, equal / seen)
    most = max(range(len(worst)), key=lambda place: _nan_first(worst[place] / max(largest[place], 1e-300)))
    return worst[most], largest[most], same, dtype


def _nan_first(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _finite(answer: Tensor, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both answers in double precision; refuses PyTorch's if it is not finite, and ONNX's if it has another shape."""
    own, other = answer.double().numpy(), got.astype(np.float64)
    if own.shape != other.shape or not np.isfinite(own).all():
        what = "infinite or NaN answers" if own.shape == other.shape else f"answers of shape {other.shape}"
        raise BadInput(f"an export is compared on finite answers of shape {own.shape}; got {what}: not kept")
    return own, other
