"""The command `prudent team`: which networks of a run answer better together, as a folder and as one ONNX file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prudent.errors import BadInput
from prudent.terminal import AsJson, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prudent.team_reports import Price, Side

WITHIN = ("macs", "time")


def team(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished study.")],
    seed: Annotated[int | None, typer.Option(help="Networks of this seed; default: of all seeds together.")] = None,
    beta: Annotated[float, typer.Option(help="Share of the least diverse teams of each size that is pruned.")] = 0.2,
    measures: Annotated[
        str | None, typer.Option(help="Measures of diversity, with commas; default: those of the reference page.")
    ] = None,
    diversity: Annotated[str, typer.Option(help="focal or baseline.")] = "focal",
    largest: Annotated[int | None, typer.Option(min=2, help="Most members.")] = None,
    within: Annotated[
        str | None, typer.Option(help="Only teams that cost no more than the dense network: macs or time.")
    ] = None,
    sparsities: Annotated[str | None, typer.Option(help="Networks of these sparsities only, with commas.")] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Dense networks may belong to the team.")] = False,  # noqa: FBT002 (a flag of the command line)
    out: Annotated[Path | None, typer.Option(help="Folder; default: teams/SEED/beta-BETA in the run.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="Whether to write team.onnx.")] = True,  # noqa: FBT002 (a flag of the command line)
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Choose a team from the networks of a run on validation, report it on test, and write it as one network.

    The team votes softly. Its folder can be certified like a network: prudent certify FOLDER.
    """
    from prudent.onnx_graph import check_onnx
    from prudent.run_folder import read_results
    from prudent.team_folders import names_of
    from prudent.teams import HQ_MEASURES, choose_team

    results = read_results(run)
    pool = _pool(results, seed, _numbers(sparsities), dense=dense)
    if onnx:
        check_onnx()
    answers = _Answers(run)
    reference = _reference(results, seed, answers)
    prices = [_price(n, reference) for n in pool]
    costs, budget = _budget(within, prices, _price(reference, reference))
    choice = choose_team(
        [answers.on(n, "validation") for n in pool], beta=beta, diversity=_kind(diversity), largest=largest,
        measures=HQ_MEASURES if measures is None else [word.strip() for word in measures.split(",")],
        costs=costs, budget=budget,
    )  # fmt: skip
    sides = _sides(answers, pool, reference, choice.team, prices)
    names = names_of([(n["seed"], n["method"], n["requested"]) for n in pool])
    folder = out or run / "teams" / ("all" if seed is None else f"seed{seed}") / f"beta-{beta!r}"
    members = {names[i]: pool[i] for i in choice.team}
    task = {key: results["study"]["data"][key] for key in ("name", "options")} | {
        "fingerprints": {split: answers.data.splits[split].fingerprint for split in ("train", "validation")}
    }
    chosen = asdict(choice) | {"members": list(members), "run": results["id"], "task": task}
    exported = _write(run, members, folder, chosen, answers, onnx=onnx)
    if as_json:
        told = {"folder": str(folder), "chosen": chosen, "sides": [asdict(side) for side in sides], "onnx": exported}
        typer.echo(json.dumps(told, indent=1, default=str))
        return 0
    typer.echo(choice.sentence())
    _say(list(members), sides)
    typer.echo(f"Written to {folder}" + (f" and {exported['path']}" if exported else ""))
    if exported:
        typer.echo(exported["said"] + ".")
    return 0


class _Answers:
    """What networks of a run answer, each asked once for each split."""

    def __init__(self, run: Path) -> None:
        from prudent.named_networks import data_of_run

        found = data_of_run(run / "networks" / "seed0" / "dense")
        if found is None:
            raise BadInput(f"{run} does not name a data set of prudent's own, so its networks cannot be asked again")
        self.run, self.data = run, found()
        self.strangers = _strangers(run)
        self.known: dict[tuple[str, str], Any] = {}

    def on(self, network: dict[str, Any], split: str) -> Any:  # noqa: ANN401 (Predictions)
        """Predictions of a network, an entry of the results, on a split of its run's data, or on its strangers."""
        from prudent.artefacts import artefact

        address = (network["folder"], split)
        if address not in self.known:
            data = self.strangers if split == "ood" and self.strangers is not None else self.data
            batches = data.splits[split].batches(512)  # type: ignore[index]
            self.known[address] = artefact(str(self.run / network["folder"])).predict(batches)
        return self.known[address]


def _strangers(run: Path) -> Any:  # noqa: ANN401 (Data or None)
    """The strangers that the networks of a run were shown; None without, or where they are somebody's own."""
    from prudent.data import DATA
    from prudent.run_folder import read_results
    from prudent.sources import load_data

    said = read_results(run)["study"]["data"]
    return load_data(said["ood"], said["ood_options"]) if said["ood"] in DATA else None


def _pool(
    results: dict[str, Any], seed: int | None, sparsities: "Sequence[float] | None", *, dense: bool
) -> list[dict[str, Any]]:
    if seed is not None and seed not in results["study"]["seeds"]:
        raise BadInput(f"the run has the seeds {results['study']['seeds']}; got --seed {seed}")
    pool = [
        network
        for network in results["networks"]
        if seed in (None, network["seed"])
        and (dense if network["method"] == "" else sparsities is None or network["requested"] in sparsities)
    ]
    if len(pool) < 2:
        raise BadInput(f"a team is chosen from two or more networks; these options leave {len(pool)} of the run's")
    return pool


def _reference(results: dict[str, Any], seed: int | None, answers: "_Answers") -> dict[str, Any]:
    """The dense network to compare with: the seed's own, or of all seeds the best on validation."""
    from prudent.focal import gather

    dense: list[dict[str, Any]] = [n for n in results["networks"] if n["method"] == "" and seed in (None, n["seed"])]
    best = int(gather([answers.on(n, "validation") for n in dense]).right.argmax())
    return dense[best]


def _price(network: dict[str, Any], dense: dict[str, Any]) -> "Price":
    from prudent.team_reports import Price

    timing = network["timing"]
    share = 1.0 if network["method"] == "" else timing["milliseconds"] / timing["beside"]
    return Price(macs=float(network["macs"]), milliseconds=float(dense["timing"]["milliseconds"]) * share)


def _budget(within: str | None, prices: "list[Price]", dense: "Price") -> tuple[list[float] | None, float]:
    """What each member costs in the unit that is limited, and what the dense network does."""
    if within is None:
        return None, float("inf")
    if within not in WITHIN:
        raise BadInput(f"--within is one of {', '.join(WITHIN)}; got {within!r}")
    if within == "macs":
        return [price.macs for price in prices], dense.macs
    return [price.milliseconds or 0.0 for price in prices], dense.milliseconds or 0.0


def _sides(
    answers: _Answers,
    pool: list[dict[str, Any]],
    reference: dict[str, Any],
    chosen: tuple[int, ...],
    prices: "list[Price]",
) -> "tuple[Side, ...]":
    from prudent.focal import gather
    from prudent.team_reports import compare_team

    best = int(gather([answers.on(n, "validation") for n in pool]).right.argmax())
    shown = answers.strangers is not None
    return compare_team(
        [answers.on(n, "test") for n in pool], {"team": chosen}, best=best, dense=answers.on(reference, "test"),
        ood=[answers.on(n, "ood") for n in pool] if shown else None,
        dense_ood=answers.on(reference, "ood") if shown else None,
        prices=prices, dense_price=_price(reference, reference),
    )  # fmt: skip


def _write(
    run: Path,
    members: dict[str, dict[str, Any]],
    folder: Path,
    chosen: dict[str, Any],
    answers: _Answers,
    *,
    onnx: bool,
) -> dict[str, Any] | None:
    """The team's folder, and its ONNX file, kept only if it answers as the team does."""
    import torch

    from prudent.export import difference_sentence, export_onnx
    from prudent.files import read_file
    from prudent.identity import identity
    from prudent.networks import DESCRIPTION, NUMBERS, PLAN
    from prudent.team_folders import load_team, origin_notes, write_team

    files = {}
    for name, network in members.items():
        place = run / network["folder"]
        parts = [part for part in (DESCRIPTION, NUMBERS, PLAN) if (place / part).is_file()]
        files[name] = {part: read_file(place / part) for part in parts}
    write_team(files, folder, chosen=chosen)
    if not onnx:
        return None
    inputs = torch.from_numpy(answers.data.splits["validation"].inputs[:256])
    model = load_team(folder).model
    notes = origin_notes(folder) | {"prudent.network": identity(model)}
    exported = export_onnx(model, folder / "team.onnx", inputs, notes=notes)
    return asdict(exported) | {"said": difference_sentence(exported)}


def _say(members: list[str], sides: "tuple[Side, ...]") -> None:
    from prudent.wording import fixed, percent

    typer.echo(f"Members: {', '.join(members)}. On test:")
    shown = "auroc_max_prob" in sides[0].metrics
    heads = ("who", "cost", "error", "NLL", "ECE", *(["AUROC"] if shown else []), "MACs", "time")
    rows = [
        (
            side.name,
            "" if side.cost is None else percent(side.cost, 0),
            percent(side.metrics["error"].value, 2),
            fixed(side.metrics["nll"].value, 4),
            fixed(side.metrics["ece"].value, 4),
            *([fixed(side.metrics["auroc_max_prob"].value, 3)] if shown else []),
            "" if side.price is None else f"{side.price.macs:,.0f}",
            "" if side.price is None or side.price.milliseconds is None else f"{fixed(side.price.milliseconds, 2)} ms",
        )
        for side in sides
    ]
    print_table("team", heads, rows, narrow=True)


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise BadInput(f"--sparsities is a list of numbers with commas; got {text!r}") from error


def _kind(word: str) -> Any:  # noqa: ANN401 (a word of a Literal, which choose_team checks)
    return word
