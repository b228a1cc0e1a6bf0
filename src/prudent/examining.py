"""The command that looks at a network before anything is done to it: `prudent doctor`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from prudent.shipping import Builder, DataName, Network, Shape, shape_of
from prudent.terminal import AsJson

if TYPE_CHECKING:
    from prudent.surgery.doctoring import Diagnosis, Layer

EXAMPLES = 2
"""Random inputs that the network is traced with: what they hold does not matter, and one could be taken for none."""

WORDS = {
    "exact": "[green]exact[/]",
    "partly": "[yellow]partly[/]",
    "heads": "[green]heads[/]",
    "changing": "[yellow]changing[/]",
    "stays": "[red]stays[/]",
}


def doctor(
    network: Network,
    data: DataName = None,
    input_: Shape = None,
    builder: Builder = None,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Say what of a network can be pruned away for good, how much that is, and why the rest cannot."""
    import torch

    from prudent.named_networks import named_network
    from prudent.surgery.doctoring import diagnose

    named = named_network(network, data=data, builder=builder, shape=None if input_ is None else shape_of(input_))
    model: Any = getattr(named.network, "model", named.network)
    example = torch.rand(EXAMPLES, *named.shape, generator=torch.Generator().manual_seed(0))
    found = diagnose(model, example)
    if as_json:
        layers = [{**asdict(layer), "state": layer.state} for layer in found.layers]
        typer.echo(json.dumps({**asdict(found), "layers": layers, "share": found.share}, indent=1))
    else:
        _say(type(model).__name__, found)
    return 0


def _say(name: str, found: "Diagnosis") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.tree import Tree

    console = Console(highlight=False)
    if found.problem:
        console.print(f"{escape(name)}: {found.parameters:,} parameters. Only single weights can be pruned:")
        console.print(escape(found.problem))
        return
    share = f"{found.share:.1%} of them in units that can be removed"
    tree = Tree(f"{escape(name)}: {found.parameters:,} parameters, {share}")
    branches: dict[str, Any] = {"": tree}
    for layer in found.layers:
        path, _, own = layer.name.removesuffix(".weight").rpartition(".")
        branch = _branch(branches, path)
        branch.add(f"{escape(own or layer.name)}  {_line(layer)}")
    console.print(tree)
    console.print(
        "exact: the smaller network computes what the masked one does. changing: only with changing=True, since a "
        "normalisation then takes its statistics over what is left. heads: whole attention heads."
    )


def _branch(branches: dict[str, Any], path: str) -> Any:  # noqa: ANN401 (a tree of rich, imported late)
    from rich.markup import escape

    if path not in branches:
        parent, _, own = path.rpartition(".")
        branches[path] = _branch(branches, parent).add(escape(own))
    return branches[path]


def _line(layer: "Layer") -> str:
    from rich.markup import escape

    parts = [WORDS[layer.state]]
    if layer.heads:
        parts.append(f"{layer.heads} heads")
    if layer.exact or layer.changing:
        parts.append(f"{layer.exact + layer.changing} of {layer.units} units")
    if layer.coupled:
        others = f" and {len(layer.coupled) - 1} more" if len(layer.coupled) > 1 else ""
        parts.append(f"with {escape(layer.coupled[0].removesuffix('.weight'))}{others}")
    if layer.reason and layer.state != "exact":
        parts.append(escape(layer.reason))
    return ", ".join(parts)
