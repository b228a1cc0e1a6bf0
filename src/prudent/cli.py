"""The command line: one command = parse, load, one call, save, say.

Exit status: 0 done, 2 refused (one line says what is required, what came, what to do), 3 nothing certified,
130 interrupted.
"""

import io
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prudent import certifying, evaluating, examining, shipping, teaming, trimming, verifying, watching
from prudent._version import __version__
from prudent.errors import PrudentError
from prudent.terminal import AsJson, print_table

DONE, REFUSED, NOTHING_CERTIFIED, INTERRUPTED = 0, 2, 3, 130

# typer brings its own copy of click or uses the installed one, by version; this is UsageError of whichever it is
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="prudent",
    help="Prune a neural network, and prove what it lost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of `prudent`: run a command, turn what it raises into one line and an exit status."""
    # methods of one's own, package.module:callable, are looked for where the command is run, as `python -m` would
    if "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    for stream in (sys.stdout, sys.stderr):
        # a terminal that lacks a character gets "?" for it, not a traceback after hours of work
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit status."""
    try:
        status = app(arguments, standalone_mode=False, prog_name="prudent")
    except PrudentError as error:
        return _refuse(str(error))
    except _UsageError as error:
        said = getattr(error, "format_message", lambda: str(error))()
        # without arguments the help has been printed, and there is nothing to add
        return _refuse(f"{said.rstrip('.')}: see prudent --help") if said else REFUSED
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED  # some versions of typer raise, others return 130
    if status == INTERRUPTED:
        print("prudent: interrupted; everything finished is kept, the same command goes on from there", file=sys.stderr)
    return status if isinstance(status, int) else DONE


def _refuse(message: str) -> int:
    print(f"prudent: {' '.join(message.split(chr(10)))}", file=sys.stderr)
    return REFUSED


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"prudent {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _prudent(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def study(
    file: Annotated[str, typer.Argument(help="Study file (TOML), or the name of an embedded study.")] = "digits",
    full: Annotated[bool, typer.Option("--full", help="Run the full size, as the file says under full.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for runs.")] = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at the same time; default: one a core.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads in each process.")] = 1,
    as_json: AsJson = False,
) -> int:
    """Run a study, or what is left of it: train, prune, evaluate, certify, and write a page.

    Exits with 3 if nothing can be certified for the claim that the study declares.
    """
    from prudent.progress import showing
    from prudent.run_folder import read_results
    from prudent.studies import study as run_study
    from prudent.summary import machine_summary

    with showing() as show:
        folder = run_study(file, full=full, out=out, workers=workers, threads=threads, on_progress=show)
    results = read_results(folder)
    summary = machine_summary(folder, results)
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
    else:
        _say(results, summary)
    return DONE if summary["certified"] else NOTHING_CERTIFIED


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished study.")],
    as_json: AsJson = False,
) -> int:
    """Write the page of a finished study again, from its numbers."""
    from prudent.files import write_whole
    from prudent.report import build_report
    from prudent.run_folder import REPORT

    path = write_whole(run_folder / REPORT, build_report(run_folder))
    typer.echo(json.dumps({"report": str(path)}) if as_json else f"Written to {path}")
    return DONE


@app.command()
def methods(as_json: AsJson = False) -> int:
    """List every method by kind, from scores to architectures, each with its source."""
    from prudent.bounds import BOUNDS
    from prudent.corruptions import CORRUPTIONS
    from prudent.data import DATA
    from prudent.models import MODELS
    from prudent.ood import OOD
    from prudent.procedures import PROCEDURES
    from prudent.schedules import SCHEDULES
    from prudent.scores import SCORES

    found: dict[str, list[dict[str, str]]] = {}
    for catalogue in (SCORES, SCHEDULES, BOUNDS, PROCEDURES, OOD, CORRUPTIONS, DATA, MODELS):
        described = [(name, *catalogue.summary(name)) for name in catalogue]
        found[catalogue.noun] = [{"name": n, "what": what, "source": source} for n, what, source in described]
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return DONE
    for noun, entries in found.items():
        print_table(f"{noun}s", ("name", "what", "source"), [tuple(entry.values()) for entry in entries], narrow=False)
    return DONE


app.command("doctor")(examining.doctor)
app.command("evaluate")(evaluating.evaluate)
app.command("certify")(certifying.claim)
app.command("plan")(certifying.plan)
app.command("monitor")(watching.monitor)
app.command("verify")(verifying.verify)
app.command("prune")(trimming.trim)
app.command("team")(teaming.team)
app.command("export")(shipping.export)
app.command("bench")(shipping.race)


def _say(results: dict[str, Any], summary: dict[str, Any]) -> None:
    """The claim, a table, and where everything is."""
    from prudent.summary import COLUMNS, declared_certificate, means, table

    print_table(results["study"]["name"], COLUMNS, table(results), narrow=True)
    if means(results):
        typer.echo(means(results))
    if len(results["certificates"]) > 1:
        typer.echo("Each row holds by itself only; the page says which hold together. Declared beforehand:")
    typer.echo(summary["claim"])
    if not summary["certified"]:
        typer.echo(declared_certificate(results)["needed"])
    typer.echo(f"Page: {summary['report']}")
    typer.echo(f"Check it: prudent verify {shlex.quote(summary['certificate'])}")


if __name__ == "__main__":
    main()
