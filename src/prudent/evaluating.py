"""The command that measures the networks of a finished study further: `prudent evaluate`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from prudent.terminal import AsJson


def evaluate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished study, its store beside it.")],
    suite: Annotated[str, typer.Option(help='What to measure: "full" is everything beyond accuracy.')] = "full",
    examples: Annotated[
        int | None, typer.Option(min=20, help="Test examples that are corrupted; default: all, or as the study says.")
    ] = None,
    severity: Annotated[
        list[int] | None, typer.Option(min=1, max=5, help="Of the corruptions, may be repeated; default: 1, 3 and 5.")
    ] = None,
    corruption: Annotated[list[str] | None, typer.Option(help="Which, may be repeated; default: all 19.")] = None,
    ood: Annotated[
        list[str] | None, typer.Option(help="A further set of strangers, may be repeated: a set, or another task.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at the same time; default: one a core.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads in each process.")] = 1,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Measure what the networks of RUN lost beyond accuracy. Nothing is trained again.

    Calibration, strangers, corruption, noise, attacks and the distance to the
    dense network go to results.json, suite.csv and the page. A study that had
    no suite gets a folder of its own beside RUN.
    """
    from prudent.progress import showing
    from prudent.reevaluation import measure_again
    from prudent.run_folder import REPORT, SUITE

    asked = {"examples": examples, "severities": severity, "corruptions": corruption, "ood": ood}
    options: dict[str, Any] = {key: value for key, value in asked.items() if value}
    with showing() as show:
        folder = measure_again(
            run_folder, suite=suite, options=options, workers=workers, threads=threads, on_progress=show
        )
    if as_json:
        said = {"run": str(folder), "report": str(folder / REPORT), "table": str(folder / SUITE)}
        typer.echo(json.dumps(said, indent=1))
    else:
        typer.echo(f"Page: {folder / REPORT}\nTable: {folder / SUITE}")
    return 0
