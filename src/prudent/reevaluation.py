"""Measure the networks of a finished study again, by a suite that it did not ask for, or another one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prudent.errors import BadInput
from prudent.run_folder import read_results
from prudent.scheduling import Progress
from prudent.settings import Settings
from prudent.studies import run_settings

STORE = "store"


def measure_again(
    run: str | Path,
    *,
    suite: str = "full",
    options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    threads: int = 1,
    executor: str = "local",
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Run the suite on the networks of a finished study, and write its numbers and page anew. Nothing is trained.

    The run's folder is named after all settings of its study. A study that had no suite, or another one, becomes
    another study: its folder stands beside the first, which is left as it is. It is the folder that the study file
    would lead to with the suite in it.

    Args:
        run: folder of a finished study, with the store beside it that its networks are in.
        suite: which one; there is "full".
        options: of [evaluation.suite_options], which replace those that the study has.
        workers, threads, executor, on_progress: as in `prudent.study`.

    Returns: the folder with the numbers and the page.

    Raises:
        PrudentError: the folder has no results.
        BadInput: there is no store beside it, or not all of its networks are there; an option that does not exist or
            does not fit; and what the study itself refuses.
        CellFailed: part of the work failed; the rest is done and kept.
    """
    folder = Path(run)
    results = read_results(folder)
    out = folder.resolve().parent
    if not (out / STORE).is_dir():
        raise BadInput(f"the networks of a run are in the folder {STORE!r} beside it; there is none in {str(out)!r}")
    given = dict(results["study"])
    before = given["evaluation"]
    own = {**(before.get("suite_options") or {}), **(options or {})}
    given["evaluation"] = {**before, "suite": suite, "suite_options": own}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"{place}{': ' if place else ''}{said[0].lower()}{said[1:]}; got {_shown(first)}") from error
    return run_settings(
        settings, file=results["file"], full=bool(results.get("full")), out=out, workers=workers, threads=threads,
        executor=executor, train=False, on_progress=on_progress,
    )  # fmt: skip


def _shown(problem: Mapping[str, Any]) -> str:
    came = problem["input"]
    return "these settings" if isinstance(came, dict) else repr(came)
