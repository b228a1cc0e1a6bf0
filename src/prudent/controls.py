"""Controls: what a method must beat before its choice of weights means anything.

Whether a mask is good because of *which* weights it keeps, or only because of *how many* in each layer, or because of
the values they have, is what these four answer.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from prudent.copying import duplicate
from prudent.errors import BadInput, CannotPrune
from prudent.masks import Mask, select
from prudent.network import Scores, seeded
from prudent.seeds import stream

Control = Literal["random", "shuffled", "inverted", "reinit"]
"""random: other units, drawn uniformly, as many in each layer. shuffled: the mask's own entries permuted within each
layer. inverted: the highest scores are removed. reinit: the mask as it is, on freshly initialised weights."""


def controlled(control: Control, mask: Mask, scores: Scores, *, within: Mask | None = None, seed: int) -> Mask:
    """The mask that a control puts in the place of the method's own.

    Args:
        control: "random" and "shuffled" change the mask here; "inverted" ranks other scores, and "reinit" changes the
            weights, so both leave it as it is.
        mask: what the method chose.
        scores: of units, for their shapes.
        within: a mask whose removed units stay removed.
        seed: of a generator of its own.

    Raises:
        CannotPrune: "shuffled" for an n:m mask, whose pattern it would break ("random" keeps it).

    Source: Frankle et al. 2021, "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
    arXiv:2009.08576, section 5; Su et al. 2020, "Sanity-Checking Pruning Methods", arXiv:2009.11094.
    """
    if control == "random":
        generator = torch.Generator().manual_seed(stream("random control", seed))
        drawn = {name: torch.rand(scores[name].shape, generator=generator) for name in mask.kept}
        chosen = select(
            drawn, granularity=mask.granularity, pattern=mask.pattern, block=mask.block, like=mask, within=within
        )
        return replace(chosen, cover=mask.cover)
    if control == "shuffled":
        if mask.granularity == "n:m":
            raise CannotPrune('an n:m mask that is shuffled is none any more: ask for control="random"')
        rng = np.random.default_rng(stream("shuffled control", seed))
        kept = {
            name: _shuffled(name, bits, within, rng, rows=mask.cover is not None) for name, bits in mask.kept.items()
        }
        return replace(mask, kept=kept)
    return mask


def _shuffled(name: str, kept: Tensor, within: Mask | None, rng: np.random.Generator, *, rows: bool) -> Tensor:
    """The same number kept at other places, of those alive; rows that keep equally many are shuffled each by itself."""
    lines = kept.numpy().reshape(-1, kept.shape[-1]) if rows else kept.numpy().reshape(1, -1)
    alive = np.ones_like(lines) if within is None else within.kept[name].numpy().reshape(lines.shape)
    shuffled = np.zeros_like(lines)
    for line, bits, there in zip(shuffled, lines, alive, strict=True):
        line[there] = rng.permutation(bits[there])
    return torch.from_numpy(shuffled.reshape(kept.shape))


def reinitialised(model: nn.Module, *, seed: int, build: Callable[[], nn.Module] | None = None) -> nn.Module:
    """A copy of the network with fresh weights, drawn by `build` or by each module's own `reset_parameters`.

    Args:
        model: not changed.
        seed: of the new weights; the global generators are not touched.
        build: makes a network of the same parameters, with random weights of its own.

    Raises:
        CannotPrune: without `build`, a module with parameters of its own that does not know how to draw them.
        BadInput: `build` makes a network of other parameters.
    """
    fresh = duplicate(model)
    if build is not None:
        with seeded(stream("fresh weights", seed)):
            built = build()
        _check_alike(model, built)
        fresh.load_state_dict(built.state_dict())
        return fresh
    with seeded(stream("fresh weights", seed)):
        for name, module in fresh.named_modules():
            if not any(True for _ in module.parameters(recurse=False)):
                continue
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if reset is None:
                raise CannotPrune(
                    f"module {name!r} ({type(module).__name__}) has no reset_parameters, so it cannot be initialised "
                    "anew: pass build=..., a function that makes the network"
                )
            reset()
    return fresh


def _check_alike(model: nn.Module, built: nn.Module) -> None:
    wanted, came = ({name: tuple(v.shape) for name, v in one.state_dict().items()} for one in (model, built))
    odd = sorted({name for name, _ in wanted.items() ^ came.items()})
    if odd:
        raise BadInput(
            f"build makes a network with the parameters of the one that is pruned; {odd[0]!r} has shape "
            f"{wanted.get(odd[0], 'none')} there and {came.get(odd[0], 'none')} in what it made"
        )
