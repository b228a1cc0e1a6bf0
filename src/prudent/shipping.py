"""The commands for what leaves the laboratory: `prudent export` and `prudent bench`."""

import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from prudent.errors import BadInput
from prudent.terminal import AsJson, print_table

if TYPE_CHECKING:
    from prudent.named_networks import Named
    from prudent.runtimes import Runtime
    from prudent.speed import Race, Speeds

FORMATS = ("onnx",)
UNITS = {"": 1.0, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}
"""Unit of a latency budget -> milliseconds."""

Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="Folder of a network, saved or in a run; an architecture; or package.module:callable.",
    ),
]
DataName = Annotated[
    str | None,
    typer.Option("--data", help="Data set, or package.module:callable; default: that of the run it lies in."),
]
Shape = Annotated[
    str | None, typer.Option("--input", help="Shape of one input, as 3,224,224, where there is no data set.")
]
Builder = Annotated[
    str | None, typer.Option("--build", help="What builds a network of one's own: package.module:callable.")
]


def export(
    network: Network,
    to: Annotated[str, typer.Option(help="Format of the file: onnx.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file; default: network.onnx in the folder.")] = None,
    data: DataName = None,
    split: Annotated[str, typer.Option(help="Split whose inputs the file is compared on.")] = "validation",
    inputs: Annotated[int, typer.Option(min=1, help="Inputs to compare on, at most.")] = 256,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators; default: torch's choice.")] = None,
    builder: Builder = None,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Write a network as one ONNX file, if ONNX Runtime answers as PyTorch does on real inputs."""
    from prudent.errors import UnknownName
    from prudent.export import difference_sentence, export_onnx, storage_notes
    from prudent.named_networks import named_network
    from prudent.onnx_graph import check_onnx
    from prudent.wording import size

    if to not in FORMATS:
        raise UnknownName.of("format", to, FORMATS)
    check_onnx()
    named = named_network(network, data=data, builder=builder)
    folder = Path(network)
    path = out or (folder if folder.is_dir() else Path()) / "network.onnx"
    exported = export_onnx(named.network, path, named.inputs(split, inputs), opset=opset)
    notes = storage_notes(named.network)
    if as_json:
        typer.echo(json.dumps({**asdict(exported), "path": str(path), "split": split, "notes": notes}, indent=1))
        return 0
    typer.echo(f"Written to {exported.path} ({size(exported.bytes)}, opset {exported.opset}, any batch size)")
    typer.echo(f"sha256 {exported.sha256}")
    for line in (difference_sentence(exported) + ".", *notes):
        typer.echo(line)
    return 0


def race(
    network: Network,
    beside: Annotated[
        str | None, typer.Option(help="The dense network, named alike; default: the one it was pruned from.")
    ] = None,
    runtime: Annotated[str, typer.Option(help="Runtimes, with commas.")] = "eager,compile,onnxruntime",
    batch: Annotated[str, typer.Option(help="Batch sizes, with commas.")] = "1,32",
    threads: Annotated[str, typer.Option(help="Numbers of threads, with commas.")] = "1",
    turns: Annotated[int, typer.Option(min=6, help="Timed passes of each network in each setting.")] = 50,
    latency_budget: Annotated[
        str | None,
        typer.Option(help="Time for a pass, as 5ms: plan the widths of a dense network for it, or check a pruned one."),
    ] = None,
    data: DataName = None,
    input_: Shape = None,
    builder: Builder = None,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Time a pruned network beside the dense one, turn by turn, in PyTorch, torch.compile and ONNX Runtime.

    With --latency-budget a dense network is not timed beside another one: widths are planned for the first runtime,
    batch and number of threads, cut and measured, and nothing is saved (`prudent prune` does that). A pruned network
    that misses the budget is refused.
    """
    import torch

    from prudent.named_networks import named_network
    from prudent.runtimes import Runtime
    from prudent.scopes import check_choice
    from prudent.speed import bench

    batches, runtimes = _numbers("batch", batch), [runtime_of(word.strip()) for word in runtime.split(",")]
    for word in runtimes:
        check_choice("runtime", word, Runtime)
    budget = None if latency_budget is None else milliseconds_of(latency_budget)
    shape = None if input_ is None else shape_of(input_)
    named = named_network(network, data=data, builder=builder, shape=shape)
    if budget is not None and beside is None and _module(named.network) is named.network:
        return _plan(named, budget, runtimes[0], batches[0], _numbers("threads", threads)[0], turns, as_json=as_json)
    dense = named.dense() if beside is None else _module(named_network(beside, data=data, builder=builder).network)
    # how long a pass takes does not depend on what is in the image, and the data may not be here
    example = torch.rand(max(batches), *named.shape, generator=torch.Generator().manual_seed(0))
    speeds = bench(
        named.network, dense, example,
        runtimes=cast("list[Runtime]", runtimes), batches=batches, threads=_numbers("threads", threads), turns=turns,
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(asdict(speeds), indent=1))
    else:
        _say(speeds)
    over = [race for race in speeds.races if budget is not None and race.milliseconds > budget]
    if over:
        raise BadInput(
            f"the budget of {latency_budget} is missed: {short(over[0].milliseconds)} ms in {over[0].runtime}, batch "
            f"{over[0].batch}; cut a smaller network with prudent prune --latency-budget {latency_budget}"
        )
    return 0


def _plan(named: "Named", budget: float, runtime: str, batch: int, threads: int, turns: int, *, as_json: bool) -> int:
    """Plan the widths of a dense network for a budget, and say what they come to."""
    import torch

    from prudent.deadlines import prune_to_latency

    example = torch.rand(2, *named.shape, generator=torch.Generator().manual_seed(0))
    found = prune_to_latency(
        _module(named.network), example, milliseconds=budget, runtime=cast("Runtime", runtime), batch=batch,
        threads=threads, turns=turns,
    )  # fmt: skip
    widths = {n.removesuffix(".weight"): [k.numel(), int(k.sum())] for n, k in found.pruned.mask.kept.items()}
    if as_json:
        said = {"budget": budget, "dense": found.dense, "predicted": found.predicted, "measured": asdict(found.race)}
        said |= {"widths": widths, "sparsity": found.shrunk.sparsity, "macs_ratio": found.macs_ratio}
        typer.echo(json.dumps(said | {"warnings": list(found.warnings)}, indent=1))
        return 0
    rows = [(name, str(before), str(after)) for name, (before, after) in widths.items()]
    print_table("Widths", ("layer", "dense", "planned"), rows, narrow=False)
    race = found.race
    typer.echo(
        f"Budget {short(budget)} ms, predicted {short(found.predicted)} ms, measured {short(race.milliseconds)} ms "
        f"({short(race.lo)} to {short(race.hi)}) in {race.runtime}, batch {race.batch}; dense {short(race.beside)} ms."
    )
    for warning in found.warnings:
        typer.echo(f"Warning: {warning}")
    return 0


def _say(speeds: "Speeds") -> None:
    from prudent.wording import fixed

    columns = ("batch × threads", "dense, ms", "pruned, ms", "speed-up", "MACs")
    print_table("Speed", columns, [_row(race, speeds.macs_ratio) for race in speeds.races], narrow=True)
    race = speeds.races[0]
    typer.echo(
        f"Medians of {race.turns} turns with intervals of {fixed(100 * race.level, 0)} %; the speed-up is that of "
        "neighbouring passes, and MACs what less arithmetic alone would promise."
    )
    for runtime, why in speeds.unmeasured.items():
        typer.echo(f"Not measured: {runtime}: {why}")
    for warning in speeds.warnings:
        typer.echo(f"Warning: {warning}")


def _row(race: "Race", macs_ratio: float) -> tuple[str, ...]:
    return (
        f"{race.runtime} {race.batch} × {race.threads}",
        _spread(race.beside, race.beside_lo, race.beside_hi),
        _spread(race.milliseconds, race.lo, race.hi),
        _spread(race.speedup, race.speedup_lo, race.speedup_hi),
        short(macs_ratio),
    )


def _spread(middle: float, low: float, high: float) -> str:
    return f"{short(middle)}\n({short(low)}–{short(high)})"


def short(value: float) -> str:
    """Three digits that count: a clock promises no more, and the table fits on a terminal."""
    from prudent.wording import fixed

    return fixed(value, max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0)


def milliseconds_of(text: str) -> float:
    """What a latency budget says: "5ms", "800us", "0.5s", or a number of milliseconds.

    Raises:
        BadInput: no number above 0, or an unknown unit.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(us|µs|ms|s|)\s*", text)
    try:
        value = float(found[1]) * UNITS[found[2]] if found else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise BadInput(f"--latency-budget takes a time above 0, such as 5ms, 800us or 0.5s; got {text!r}")
    return value


def shape_of(text: str) -> tuple[int, ...]:
    """The shape of one input that an option says. Raises BadInput."""
    try:
        sizes = tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise BadInput(f"--input takes whole numbers with commas, such as 3,224,224; got {text!r}") from error
    if min(sizes) < 1:
        raise BadInput(f"--input takes sizes of at least 1; got {text!r}")
    return sizes


def runtime_of(word: str) -> str:
    """The runtime that a word means; "onnx" is short for ONNX Runtime."""
    return "onnxruntime" if word == "onnx" else word


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise BadInput(f"--{option} takes whole numbers with commas, such as 1,32; got {text!r}") from error
    if min(numbers) < 1:
        raise BadInput(f"--{option} takes numbers of at least 1; got {text!r}")
    return numbers


def _module(network: Any) -> Any:  # noqa: ANN401 (modules; torch is not imported here)
    return getattr(network, "model", network)
