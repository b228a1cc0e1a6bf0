"""The command that makes a network smaller: `prudent prune`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prudent.errors import BadInput
from prudent.shipping import Builder, DataName, Network, milliseconds_of, runtime_of, shape_of, short
from prudent.terminal import AsJson, print_table

if TYPE_CHECKING:
    from prudent.trimmed import Trimmed
    from prudent.wishes import Wish

AMOUNT, CHOICE, CLOCK, TRAINING, PLACE = "How much", "What", "By the clock", "Training afterwards", "From, to"


def trim(
    network: Network,
    sparsity: Annotated[
        float | None,
        typer.Option(help="Fraction of the units to remove, in [0, 1).", rich_help_panel=AMOUNT),
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(min=1, help="So many parameters may remain.", rich_help_panel=AMOUNT)
    ] = None,
    macs: Annotated[
        int | None,
        typer.Option(min=1, help="So many multiply-accumulates may remain for one input.", rich_help_panel=AMOUNT),
    ] = None,
    latency_budget: Annotated[
        str | None,
        typer.Option(
            help="So long may a pass take, as 5ms: widths are planned by timing layers.", rich_help_panel=AMOUNT
        ),
    ] = None,
    granularity: Annotated[
        str,
        typer.Option(help="Unit to remove: channel or head (cut out), weight (zeros).", rich_help_panel=CHOICE),
    ] = "channel",
    score: Annotated[
        str,
        typer.Option(
            help="Importance score (see `prudent methods`), or package.module:callable.", rich_help_panel=CHOICE
        ),
    ] = "magnitude",
    scope: Annotated[
        str,
        typer.Option(help="What is ranked together: global, layer, row, erdos_renyi, ...", rich_help_panel=CHOICE),
    ] = "global",
    minimum: Annotated[
        int, typer.Option(min=0, help="So many units stay in every layer, under scope global.", rich_help_panel=CHOICE)
    ] = 0,
    changing: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool,
        typer.Option(
            "--changing",
            help="Also channels that a LayerNorm or GroupNorm takes statistics over.",
            rich_help_panel=CHOICE,
        ),
    ] = False,
    no_shrink: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool, typer.Option("--no-shrink", help="Leave zeros in place of channels and heads.", rich_help_panel=CHOICE)
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of scores that draw, and of training.", rich_help_panel=CHOICE)] = 0,
    fine_tune: Annotated[
        int, typer.Option(min=0, metavar="EPOCHS", help="Passes over the training examples.", rich_help_panel=TRAINING)
    ] = 0,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam, falling to 0.", rich_help_panel=TRAINING)] = 1e-3,
    runtime: Annotated[
        str | None,
        typer.Option(help="Measure in it: onnx, eager or compile; default with a budget: onnx.", rich_help_panel=CLOCK),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Inputs in a measured pass.", rich_help_panel=CLOCK)] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.", rich_help_panel=CLOCK)] = 1,
    seconds: Annotated[float, typer.Option(help="For the search for widths, about.", rich_help_panel=CLOCK)] = 60.0,
    data: DataName = None,
    input_: Annotated[
        str | None, typer.Option("--input", help="Shape of one input, as 3,224,224, where there is no data set.")
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Training examples that a score reads, at most.", rich_help_panel=CHOICE)
    ] = 1024,
    builder: Builder = None,
    out: Annotated[Path, typer.Option(help="Folder for the smaller network.", rich_help_panel=PLACE)] = Path("pruned"),
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Prune a network, cut out what is gone, prove that nothing else changed, and save it.

    Say how much with one of --sparsity, --parameters, --macs and --latency-budget. Channels and attention heads are
    cut out, and the smaller network is compared with the masked one in double precision: what cannot be proved is put
    back, with the reason. The folder can be given to `prudent export`, `prudent bench` and prudent.load.

    Examples:

    prudent prune runs/digits-1f2e/networks/seed0/dense --sparsity 0.5 --fine-tune 5 --out small

    prudent prune my_package.nets:resnet --input 3,224,224 --macs 2000000000 --scope layer

    prudent prune resnet_cifar --data cifar10 --latency-budget 2ms --runtime onnx --fine-tune 10

    prudent prune vit --data cifar10 --granularity head --sparsity 0.25 --score taylor
    """
    from prudent.named_networks import named_network
    from prudent.trimmed import trimmed_network
    from prudent.wishes import Wish

    wish = Wish(
        sparsity=sparsity, parameters=parameters, macs=macs, score=score, granularity=granularity, scope=scope,
        latency=None if latency_budget is None else milliseconds_of(latency_budget),
        runtime=None if runtime is None else runtime_of(runtime), batch=batch, threads=threads,
        seconds=seconds, minimum=minimum, changing=changing,
        shrink=not no_shrink, seed=seed, epochs=fine_tune, lr=lr, examples=examples,
    )  # fmt: skip
    _check_out(out, network)
    shape = None if input_ is None else shape_of(input_)
    named = named_network(network, data=data, builder=builder, shape=shape)
    # on the other stream, at once: whoever waits for training reads it before the results
    made = trimmed_network(named, wish, tell=lambda warning: typer.echo(f"Warning: {warning}", err=True))
    _save(made, out)
    if as_json:
        typer.echo(json.dumps(_machine(made, wish, out), indent=1))
    else:
        _say(made, out)
    return 0


def _check_out(out: Path, network: str) -> None:
    """Refuse, before any work, a place where nothing can be written, or where the network itself lies."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out is a folder; {str(out)!r} is a file: name another")
    if out.exists() and Path(network).exists() and out.samefile(network):
        raise BadInput(f"--out must not be the folder of the network itself, {network!r}: name another")


def _save(made: "Trimmed", out: Path) -> None:
    from prudent.networks import save

    save(made.network, out, architecture=made.architecture)


def _machine(made: "Trimmed", wish: "Wish", out: Path) -> dict[str, Any]:
    """All that was done, for machines."""
    network = made.network
    proof = getattr(network, "proof", None)
    return {
        "folder": str(out),
        "score": wish.score,
        "granularity": wish.granularity,
        "scope": wish.scope,
        "sparsity": network.sparsity,
        "layers": {name: [kept.numel(), int(kept.sum())] for name, kept in network.mask.kept.items()},
        "before": asdict(made.before),
        "after": asdict(made.after),
        "proof": None if proof is None else asdict(proof),
        "form": getattr(network, "form", None),
        "kept": dict(getattr(network, "kept", {})),
        "changing": list(getattr(network, "changing", ())),
        "lost": list(getattr(network, "lost", ())),
        "errors": dict(made.errors),
        "latency": _latency(made),
        "warnings": list(made.warnings),
    }


def _latency(made: "Trimmed") -> dict[str, Any] | None:
    if made.race is None:
        return None
    paced = made.paced
    found: dict[str, Any] = {"measured": asdict(made.race)}
    if paced is not None:
        found |= {"budget": paced.budget, "dense": paced.dense, "predicted": paced.predicted}
        found |= {"attempts": paced.attempts, "rounded": {name: list(pair) for name, pair in paced.rounded.items()}}
    return found


def _say(made: "Trimmed", out: Path) -> None:
    from prudent.wording import fixed, percent, size

    network, before, after = made.network, made.before, made.after
    unit = network.mask.granularity
    gone = network.mask.total - network.mask.remaining
    typer.echo(f"Removed {gone:,} of {network.mask.total:,} {unit}s: sparsity {percent(network.sparsity)}.")
    rows = [
        (what, write(old), write(new), f"{fixed(old / max(new, 1), 2)} times less")
        for what, old, new, write in (
            ("parameters", before.parameters, after.parameters, _whole),
            ("multiply-accumulates", before.macs, after.macs, _whole),
            ("on disk", before.bytes, after.bytes, size),
        )
    ]
    print_table("", ("", "before", "after", ""), rows, narrow=True)
    for line in (*_proof_lines(network), *_latency_lines(made), *_error_lines(made)):
        typer.echo(line)
    typer.echo(f"Saved in {out}")


def _whole(value: float) -> str:
    return f"{value:,}"


def _proof_lines(network: Any) -> list[str]:  # noqa: ANN401 (Pruned or Shrunk; torch is not imported here)
    proof = getattr(network, "proof", None)
    if proof is None:
        return []
    beside = ", with the statistics of what is left," if network.changing else ""
    agreed = (
        f"Proved: cut and masked network{beside} differ by {proof.difference:.1e} of the largest answer on "
        f"{proof.inputs} inputs (at most {proof.tolerance:g} allowed)."
    )
    lines = [agreed]
    if network.form == "graph":
        lines.append("The network's own code holds sizes that cannot change, so it was cut as a graph.")
    lines += [f"As a graph it no longer has, in training: {what}." for what in network.lost]
    lines += [f"Put back, as zeros: {layer}: {why}" for layer, why in network.kept.items()]
    lines += [f"Has the statistics of what is left: {name}" for name in network.changing]
    return lines


def _latency_lines(made: "Trimmed") -> list[str]:
    race, paced = made.race, made.paced
    if race is None:
        return []
    asked = (
        "" if paced is None else f" for a budget of {short(paced.budget)} ms (predicted: {short(paced.predicted)} ms)"
    )
    lines = [
        (
            f"Measured in {race.runtime}, batch {race.batch}: {short(race.milliseconds)} ms "
            f"({short(race.lo)} to {short(race.hi)}){asked}; dense {short(race.beside)} ms, so {short(race.speedup)} "
            "times as fast."
        )
    ]
    if paced is not None and paced.rounded:
        widths = ", ".join(f"{name.removesuffix('.weight')} {a} to {b}" for name, (a, b) in paced.rounded.items())
        lines.append(f"Widths that this machine likes better: {widths}.")
    return lines


def _error_lines(made: "Trimmed") -> list[str]:
    from prudent.wording import percent

    if not made.errors:
        return []
    words = {"dense": "dense", "pruned": "pruned", "fine_tuned": "fine-tuned"}
    said = ", ".join(f"{words[name]} {percent(error, 1)}" for name, error in made.errors.items())
    return [f"Wrong decisions on the validation examples: {said}."]
