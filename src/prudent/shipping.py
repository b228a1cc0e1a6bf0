"""The commands for what leaves the laboratory: `prudent export` and `prudent bench`."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from prudent.errors import BadInput
from prudent.terminal import AsJson, print_table

if TYPE_CHECKING:
    from prudent.speed import Race, Speeds

FORMATS = ("onnx",)

Network = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="Folder of a network, saved or in a run; an architecture; or package.module:callable.",
    ),
]
DataName = Annotated[
    str | None, typer.Option("--data", help="Data set; default: that of the run that the folder lies in.")
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
    data: DataName = None,
    builder: Builder = None,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Time a pruned network beside the dense one, turn by turn, in PyTorch, torch.compile and ONNX Runtime."""
    import torch

    from prudent.named_networks import named_network
    from prudent.runtimes import Runtime
    from prudent.scopes import check_choice
    from prudent.speed import bench

    batches, runtimes = _numbers("batch", batch), [word.strip() for word in runtime.split(",")]
    for word in runtimes:
        check_choice("runtime", word, Runtime)
    named = named_network(network, data=data, builder=builder)
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
        _short(macs_ratio),
    )


def _spread(middle: float, low: float, high: float) -> str:
    return f"{_short(middle)}\n({_short(low)}–{_short(high)})"


def _short(value: float) -> str:
    """Three digits that count: a clock promises no more, and the table fits on a terminal."""
    from prudent.wording import fixed

    return fixed(value, max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0)


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
