"""SparseGPT: optimal brain surgery, column by column, with an update of the weights that stay."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from prudent.batches import Batch, check_repeatable
from prudent.errors import BadInput
from prudent.network import Reweighted, Scores, prunable
from prudent.observation import needed, observe, quiet
from prudent.readings import product_layers, read_rows
from prudent.scopes import check_sparsity, count
from prudent.unfolding import groups_of, matrix

NEEDS = ("data",)
UNIT = "weight"


@dataclass(frozen=True, eq=False)
class _Problem:
    """One weight: min |X (w' - w)|^2 over the w' that the mask allows, for every row w of the matrix.

    weight (groups, outputs, columns); factor (groups, columns, columns), upper triangular U with U' U = H^-1; dead
    (groups, columns), True for inputs that are always zero. All float64.
    """

    weight: Tensor
    factor: Tensor
    dead: Tensor


Solve = Callable[[str, _Problem], Tensor]
"""From a weight's name and problem to its new values, (groups, outputs, columns)."""


def sparsegpt(
    model: nn.Module,
    batches: Iterable[Batch] | None = None,
    *,
    sparsity: float = 0.5,
    block: int = 128,
    damping: float = 0.01,
    sequential: bool = False,
) -> Scores:
    """Increase of a layer's squared error if a weight goes and the columns to its right make up for it.

        H = X' X / n + damping * mean(diag(X' X / n)) I,    U' U = H^-1, U upper triangular
        saliency(w_rc) = w_rc ** 2 / U_cc ** 2              w as updated by all columns to the left
        score = saliency / (saliency + threshold of the block of columns)

    X are the inputs that the layer has in the dense network, unfolded for a convolution; with `sequential` those that
    it has once the layers that run before it are pruned and updated. Columns are visited left to right. In each block
    of columns the mask is chosen on the weights updated so far; then each weight that goes moves those to its right by
    -w_rc / U_cc U_c, which is the optimum given the columns to its left. Scores below 1/2 are of weights that this
    choice removes: exactly count(sparsity, weights) in each layer, so `prune` with scope="layer" gives SparseGPT's
    mask. With scope="global" it gives nearly the same mask (rounding moves a few weights between layers): scores are
    relative to their block, and say nothing about which layer can lose more.

    Whatever the mask is (random, n:m, of another score's choosing), the kept weights are updated for that mask. With
    `sequential` scores are taken behind layers that this choice has pruned to `sparsity`, and updated weights behind
    layers that have the mask itself: the same ones if `prune` takes all layers and scope="layer".

    Args:
        model: any network of linear and convolution layers. Not changed.
        batches: inputs, with labels or without; read once. Memory: columns ** 2 float64 numbers for each layer. With
            `sequential` read once for each weight, for the scores and again for the updated weights, and memory for one
            layer at a time.
        sparsity: fraction of every layer for which the mask is chosen, in [0, 1); `prune` fills it in.
        block: columns whose mask is chosen together, at least 1.
        damping: added to the diagonal, as a fraction of its mean, at least 0.
        sequential: solve layers in the order in which they run, each on what those before it then answer. A weight that
            several layers share is solved where it runs first, on what all of them read at that time.

    Returns: `Reweighted`: float32 tensors of the weights' shapes, in [0, 1], without unit, higher = keep; `.weights`
    gives the updated weights of any mask. Weights on inputs that are always zero score 0 and stay as they are.

    Raises:
        BadInput: no data, or with `sequential` data that can be read only once; an option out of range; inputs that are
            not finite, or too dependent for `damping`.
        CannotPrune: nothing prunable, or a transposed convolution.

    Source: Frantar & Alistarh 2023, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
    arXiv:2301.00774, algorithm 1. By default all inputs are those of the dense network, read in one pass; their code
    goes from transformer block to block, `sequential` from layer to layer. Block counts add up exactly; groups share
    the mask's threshold.
    """
    check_sparsity(sparsity)
    if block < 1 or damping < 0:
        raise BadInput(f"block is at least 1 and damping at least 0; got block={block}, damping={damping}")
    data = needed(batches, score="sparsegpt")
    if sequential:
        check_repeatable(data)
        # a copy: the updated weights are asked for later, and the caller's network may have changed by then
        each = partial(_in_turn, copy.deepcopy(model), data, damping)
    else:
        each = partial(_at_once, _problems(model, data, damping))
    scores: dict[str, Tensor] = {}

    def choose(name: str, problem: _Problem) -> Tensor:
        scores[name], values = _relative_saliency(problem, count(sparsity, problem.weight.numel()), block)
        return values

    def weights(kept: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        solved = each(lambda name, problem: _updated(problem, kept[name].reshape(problem.weight.shape), block))
        return {name: values.reshape(kept[name].shape) for name, values in solved.items()}

    each(choose)
    shapes = {name: weight.shape for name, weight in prunable(model).items() if name in scores}
    return Reweighted({name: scores[name].reshape(shape) for name, shape in shapes.items()}, weights)


def _at_once(problems: Mapping[str, _Problem], solve: Solve) -> dict[str, Tensor]:
    return {name: solve(name, problem) for name, problem in problems.items()}


def _in_turn(original: nn.Module, batches: Iterable[Batch], damping: float, solve: Solve) -> dict[str, Tensor]:
    """Solve each weight on what its layers read once those that run before have their new values."""
    model = copy.deepcopy(original)
    layers, weight_of = product_layers(model)
    ran: list[str] = []
    observe(model, islice(quiet(batches), 1), layers, lambda name, *_: ran.append(weight_of[name]))
    solved: dict[str, Tensor] = {}
    for name in dict.fromkeys([*ran, *weight_of.values()]):
        solved[name] = solve(name, _problems(model, batches, damping, only=name)[name])
        weight = model.get_parameter(name)
        with torch.no_grad():
            weight.copy_(solved[name].reshape(weight.shape))
    return solved


def _problems(
    model: nn.Module, batches: Iterable[Batch], damping: float, *, only: str | None = None
) -> dict[str, _Problem]:
    """The problem of every weight, or of one only, from one pass over the data."""
    layers, weight_of = product_layers(model)
    layers = {name: layer for name, layer in layers.items() if only in (None, weight_of[name])}
    of_weight = {weight_of[name]: layer for name, layer in layers.items()}
    moments: dict[str, Tensor] = {}
    for name, layer in of_weight.items():
        size = matrix(layer).shape[-1]
        moments[name] = matrix(layer).new_zeros(groups_of(layer), size, size, dtype=torch.float64)
    seen = dict.fromkeys(moments, 0)

    def see(name: str, rows: Tensor) -> None:
        flat = rows.flatten(1, 2).double()
        moments[weight_of[name]].baddbmm_(flat.mT, flat)
        seen[weight_of[name]] += flat.shape[1]

    read_rows(model, batches, layers, see)
    return {
        # popped: a second moment is not needed once it is factored
        name: _Problem(matrix(layer).double(), *_factor(moments.pop(name) / max(1, seen[name]), damping, name))
        for name, layer in of_weight.items()
    }


def _factor(moment: Tensor, damping: float, name: str) -> tuple[Tensor, Tensor]:
    """U of the damped second moment (groups, columns, columns), and which inputs are always zero."""
    diagonal = moment.diagonal(dim1=-2, dim2=-1)
    dead = diagonal == 0
    live = (~dead).sum(dim=-1, keepdim=True).clamp_min(1)
    shift = damping * diagonal.sum(dim=-1, keepdim=True) / live
    # a dead input is coupled to nothing; any positive number keeps the matrix invertible
    damped = moment + torch.diag_embed(torch.where(dead, 1.0, shift))
    lower, failed = torch.linalg.cholesky_ex(damped)
    if not failed.any():
        factor, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
        if not failed.any() and factor.isfinite().all():
            return factor, dead
    raise BadInput(
        f"the inputs of {name!r} are not finite, or depend on each other too much for damping={damping:g}: "
        "give more examples, or raise damping"
    )


def _relative_saliency(problem: _Problem, removed: int, block: int) -> tuple[Tensor, Tensor]:
    """Scores of one weight, of which exactly `removed` are below 1/2: SparseGPT's choice, and the weights it gives."""
    values = problem.weight.clone()
    scores = torch.empty_like(values, dtype=torch.float32)
    diagonal = problem.factor.diagonal(dim1=-2, dim2=-1).unsqueeze(1)
    units, columns = values[..., 0].numel(), values.shape[-1]
    for start in range(0, columns, block):
        end = min(start + block, columns)
        saliency = (values[..., start:end] / diagonal[..., start:end]) ** 2
        saliency = saliency.masked_fill(problem.dead[:, None, start:end], 0.0)
        # differences of rounded totals: the counts of the blocks add up to `removed`
        wanted = removed * end // columns - removed * start // columns
        scores[..., start:end], keep = _compared(saliency, min(wanted, units * (end - start)))
        _compensate(values, problem.factor, keep, start)
    return scores, values


def _compared(saliency: Tensor, removed: int) -> tuple[Tensor, Tensor]:
    """Saliency relative to the block's threshold, and what is kept: everything but the `removed` lowest."""
    ordered, order = saliency.flatten().sort(stable=True)
    lowest = ordered[removed - 1] if removed else ordered.new_zeros(())
    threshold = (lowest + ordered[min(removed, len(ordered) - 1)]) / 2
    keep = torch.ones_like(ordered, dtype=torch.bool)
    keep[order[:removed]] = False
    keep = keep.view(saliency.shape)
    relative = torch.where(saliency > 0, saliency / (saliency + threshold), 0.0).float()
    half = torch.tensor(0.5, device=relative.device)
    below = torch.nextafter(half, torch.zeros_like(half))  # ties at the threshold: on the side where they were put
    return torch.where(keep, relative.maximum(half), relative.minimum(below)), keep


def _updated(problem: _Problem, kept: Tensor, block: int) -> Tensor:
    values = problem.weight.clone()
    for start in range(0, values.shape[-1], block):
        _compensate(values, problem.factor, kept[..., start : start + block], start)
    return values


def _compensate(values: Tensor, factor: Tensor, keep: Tensor, start: int) -> None:
    """Remove what is not kept in the columns from `start` on, and move all columns to the right, in place.

    Columns right of the block are moved once for the whole block: the same sum, as one matrix product.
    """
    end = start + keep.shape[-1]
    errors = torch.zeros_like(values[..., start:end])
    for column in range(start, end):  # the order is the method's: each column sees what those before it did
        gone = ~keep[..., column - start]
        error = torch.where(gone, values[..., column], 0.0) / factor[:, column, column, None]
        values[..., column:end] -= error.unsqueeze(-1) * factor[:, None, column, column:end]
        values[..., column].masked_fill_(gone, 0.0)
        errors[..., column - start] = error
    values[..., end:] -= errors @ factor[:, start:end, end:]
