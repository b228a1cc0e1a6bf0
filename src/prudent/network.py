"""What a network is to the rest of prudent: its prunable weights, its fingerprint, its modes, its arithmetic."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prudent.computed import check_plain_numbers, check_stored, computed_in, not_stored
from prudent.errors import BadInput, CannotPrune, reason
from prudent.examples import Example, arguments

Scores = Mapping[str, Tensor]
"""Importance of every prunable unit, higher = keep: parameter name -> tensor of the weight's shape, or, of scores that
judge whole output channels, of shape (channels,)."""


@dataclass(frozen=True, eq=False)
class Reweighted(Mapping[str, Tensor]):
    """Scores of a method that also changes the weights it keeps: sampled ones by their counts, others by solving.

    It is a mapping like any other scores; `prune` asks it for the new weights once the mask is known.

    Args:
        scores: name of every prunable weight -> importance, higher = keep.
        weights: from what is kept (name -> bool tensor of the weight's shape, True = kept) to the new values of the
            weights (name -> tensor of the weight's shape; a name that is left out keeps its values). Values where
            the mask is False are ignored.
    """

    scores: Mapping[str, Tensor]
    weights: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

    def __getitem__(self, name: str) -> Tensor:
        """The score of one weight tensor."""
        return self.scores[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the weights."""
        return iter(self.scores)

    def __len__(self) -> int:
        """Number of weight tensors."""
        return len(self.scores)


PRUNABLE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""Layers whose weights are prunable. Biases, normalisation and embeddings are kept: they are few, or change meaning."""


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The prunable weights of a network: parameter name -> parameter, in the order of its modules.

    These are the weights of linear and (transposed) convolution layers, and the input projections of
    nn.MultiheadAttention. A tied weight is listed once.

    Raises:
        CannotPrune: no such layer, a layer masked by torch.nn.utils.prune or parametrised (its weight is computed, not
            stored), or one that is quantised, TorchScript, or lazy and has not seen an input yet.
    """
    check_plain_numbers(model)
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            check_stored(module, name)
            for own in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
                projection = module._parameters.get(own)
                if projection is not None and id(projection) not in seen:
                    seen.add(id(projection))
                    found[f"{name}.{own}" if name else own] = projection
        if not isinstance(module, PRUNABLE):
            continue
        weight = module._parameters.get("weight")
        if not isinstance(weight, nn.Parameter):
            advice = dict(computed_in(module)).get("weight", "code of its own: make it a parameter first")
            raise CannotPrune(not_stored(name, "weight", advice))
        if id(weight) not in seen:
            seen.add(id(weight))
            found[f"{name}.weight" if name else "weight"] = weight
    if isinstance(model, fx.GraphModule):
        found |= {name: weight for name, weight in _weights_of_graph(model) if id(weight) not in seen}
    if not found:
        raise CannotPrune(f"{type(model).__name__} has no linear or convolution layer, so nothing to prune")
    return found


def _weights_of_graph(model: fx.GraphModule) -> Iterator[tuple[str, nn.Parameter]]:
    """Weights of a network that surgery left as a graph: there linear layers and convolutions are operations."""
    own = dict(model.named_parameters())
    for node in model.graph.nodes:
        name = str(getattr(node.target, "overloadpacket", ""))
        if node.op == "call_function" and (name == "aten.linear" or name.startswith("aten.conv")):
            weight = node.args[1]
            if isinstance(weight, fx.Node) and weight.op == "get_attr" and weight.target in own:
                yield str(weight.target), own[str(weight.target)]


def is_sequence(module: nn.Module) -> bool:
    """Whether a module only runs its children in order: nn.Sequential without a forward or a hook of its own."""
    hooked = bool(module._forward_hooks or module._forward_pre_hooks)
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not hooked


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode; afterwards every module is back in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode, but with batch normalisations that normalise by the batch, as in training.

    This is how scores see a network that was never trained: its running statistics are those of no data. Afterwards
    every module is back in its mode and every running statistic has its old value.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    with evaluating(model):
        for norm in norms:
            norm.training = True
        try:
            yield model
        finally:
            for norm, buffers in zip(norms, kept, strict=True):
                for name, buffer in norm.named_buffers():
                    buffer.copy_(buffers[name])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of torch fixed by `seed` inside, the global generators untouched outside."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def fingerprint(model: nn.Module | Mapping[str, Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes of everything in the state dict, as 64 hex digits.

    Two networks with the same fingerprint compute the same function if they are of the same architecture.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def parameters(model: nn.Module) -> int:
    """Number of parameters, tied ones once."""
    return sum(p.numel() for p in model.parameters())


def macs(model: nn.Module, example: Example) -> int:
    """Multiply-accumulates of one forward pass on `example`, for the whole batch; biases and pointwise work excluded.

    Counted by torch's own counter on the operations that really run: grouped, dilated and transposed convolutions,
    linear layers and attention.
    """
    return sum(macs_by_layer(model, example).values())


def macs_by_layer(model: nn.Module, example: Example) -> dict[str, int]:
    """`macs` for each module that does the arithmetic itself: module name -> multiply-accumulates."""
    args, kwargs = arguments(example)
    counts: dict[str, int] = {}
    counter = FlopCounterMode(display=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    trained = [p for p in model.parameters() if p.requires_grad]  # the counter hooks into gradients, and stumbles there
    # the fused encoder layers are one operation to the counter, which does not know it and would count nothing
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for parameter in trained:
            parameter.requires_grad = False
        with torch.no_grad(), seeded(0), evaluating(model), sdpa_kernel(SDPBackend.MATH), counter:
            model(*args, **kwargs)
    finally:
        for parameter in trained:
            parameter.requires_grad = True
        torch.backends.mha.set_fastpath_enabled(fast)
    prefix = type(model).__name__
    per_module = {str(name): sum(flops.values()) for name, flops in counter.get_flop_counts().items()}
    total = per_module.get("Global", 0) // 2
    for name, _ in model.named_modules():
        if name and not any(other.startswith(f"{prefix}.{name}.") for other in per_module):
            flops = per_module.get(f"{prefix}.{name}", 0)
            if flops:
                counts[name] = flops // 2
    rest = total - sum(counts.values())
    return counts | ({"": rest} if rest else {})


def check_runs(model: nn.Module, example: Tensor) -> Tensor:
    """Run the network on `example` in evaluation mode and return its answer, or refuse.

    Raises:
        BadInput: it does not run, or does not answer (n, classes).
    """
    with torch.no_grad(), evaluating(model):
        return logits_of(model, example)


def check_goes(model: nn.Module, example: Example) -> None:
    """Run the network on `example` in evaluation mode, whatever it answers. Raises BadInput."""
    args, kwargs = arguments(example)
    try:
        with torch.no_grad(), evaluating(model):
            model(*args, **kwargs)
    except Exception as error:
        raise BadInput(f"the network does not run on the example: {reason(error)}") from error


def logits_of(model: nn.Module, inputs: Tensor, *, rows: int | None = None) -> Tensor:
    """What the network answers in the mode that it is in, or a refusal.

    Args:
        model: the network, or a part of it.
        inputs: (batch, ...).
        rows: how many rows of logits there must be; by default one for each input.

    Returns: (rows, classes).

    Raises:
        BadInput: it does not run, or does not answer (rows, classes).
    """
    answer = run(model, inputs)
    expected = len(inputs) if rows is None else rows
    if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != expected:
        came = tuple(answer.shape) if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise BadInput(
            f"a network answers logits of shape (n, classes); {type(model).__name__} answered {came} for "
            f"{expected} inputs"
        )
    return answer


def run(module: nn.Module, *inputs: Tensor, name: str = "") -> Any:  # noqa: ANN401 (whatever somebody's module answers)
    """What a module answers; what it raises becomes one line, which calls it by `name`, or by its class."""
    try:
        return module(*inputs)
    except Exception as error:
        shapes = " with ".join(f"{tuple(t.shape)} and {t.dtype}" for t in inputs)
        raise BadInput(
            f"{name or type(module).__name__} does not run on an input of shape {shapes}: {reason(error)}"
        ) from error


Score = Callable[..., Scores]
