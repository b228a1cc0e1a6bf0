"""The reference for units whose removal changes a normalisation: the masked network, its statistics those of the rest.

Mean and variance over channels are taken over the channels that stay. Everything else is computed as in the masked
network, in its original shapes, so that a cut network can still be compared number by number.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from prudent.surgery.calls import operation
from prudent.surgery.shadow import Shadow
from prudent.surgery.tracing import Trace

OVER_DIMENSIONS = ("mean", "var", "std")
OVER_CHANNELS = ("layer_norm", "rms_norm", "group_norm", *OVER_DIMENSIONS)


class OfTheRest(nn.Module):
    """Runs a traced graph; normalisations leave out what is gone.

    Args:
        graph: the network as a graph, its parameters those of the masked network.
        traced: its labels.
        gone: bool for each family.
    """

    def __init__(self, graph: fx.GraphModule, traced: Trace, gone: np.ndarray) -> None:
        super().__init__()
        self.graph, self.traced, self.gone = graph, traced, gone

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (whatever the network takes)
        """The masked network's answer, with the statistics of the rest."""
        flat = self.graph.graph.process_inputs(*args, **kwargs)
        answer = _Runner(self.graph, self.traced, self.gone).run(*flat, enable_io_processing=False)
        return self.graph.graph.process_outputs(answer)


class _Runner(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule, traced: Trace, gone: np.ndarray) -> None:
        super().__init__(graph)
        self.traced, self.gone = traced, gone

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 (as fx has it)
        if n.op != "call_function" or operation(n) not in OVER_CHANNELS:
            return super().run_node(n)
        source = n.args[0]
        assert isinstance(source, fx.Node)  # noqa: S101 (these operations have a tensor first)
        kept = self._kept(self.traced.shadows[source.name])
        if operation(n) in OVER_DIMENSIONS:
            dims: Any = n.args[1] if len(n.args) > 1 else n.kwargs.get("dim")
            rank = len(self.traced.shadows[source.name].shape)
            over = (
                range(rank) if not dims else [d % rank for d in (dims if isinstance(dims, (list, tuple)) else [dims])]
            )
            kept = {dim: places for dim, places in kept.items() if dim in over}
        if not kept:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return self._over_the_rest(n, list(args), dict(kwargs), kept)

    def _kept(self, shadow: Shadow) -> dict[int, Tensor]:
        kept = {}
        for field in shadow.fields:
            stays = ~self.gone[self.traced.families.of[field.labels]]
            if len(field.live) == 1 and not stays.all():
                kept[field.live[0]] = torch.from_numpy(np.flatnonzero(stays))
        return kept

    def _over_the_rest(self, n: fx.Node, args: list[Any], kwargs: dict[str, Any], kept: dict[int, Tensor]) -> Any:  # noqa: ANN401
        x: Tensor = args[0]
        kept = {dim: places.to(x.device) for dim, places in kept.items()}
        small = x
        for dim, places in kept.items():
            small = small.index_select(dim, places)
        name = operation(n)
        if name in ("layer_norm", "rms_norm"):
            count = len(args[1])
            own = {dim - (x.ndim - count): places for dim, places in kept.items() if dim >= x.ndim - count}
            args = [small, list(small.shape[-count:]), *[_picked(a, own) for a in args[2:]]]
        elif name == "group_norm":
            args = [small, args[1], *[_picked(a, {0: kept[1]}) for a in args[2:]]]
        else:
            args = [small, *args[1:]]
        answer = n.target(*args, **kwargs)  # type: ignore[operator]
        if name in OVER_DIMENSIONS:  # what is gone lay in dimensions that are gone now
            return answer
        large = torch.zeros([x.shape[d] if answer.shape[d] != 1 else 1 for d in range(x.ndim)]).to(answer)
        where = [kept[d] if d in kept and large.shape[d] > 1 else torch.arange(large.shape[d], device=x.device)
            for d in range(x.ndim)]  # fmt: skip
        large[torch.meshgrid(*where, indexing="ij")] = answer
        return large


def _picked(value: Any, kept: dict[int, Tensor]) -> Any:  # noqa: ANN401 (an argument)
    if not isinstance(value, Tensor):
        return value
    for dim, places in kept.items():
        value = value.index_select(dim, places)
    return value
