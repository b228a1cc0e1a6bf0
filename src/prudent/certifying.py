"""The commands around certificates: `prudent certify` and `prudent plan`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prudent.errors import BadInput
from prudent.shipping import Builder, DataName
from prudent.terminal import AsJson, print_table

if TYPE_CHECKING:
    from prudent.artefacts import Artefact
    from prudent.claiming import Claim
    from prudent.leakage import Leaks
    from prudent.splits import Data
    from prudent.types import Certificate

DONE, NOTHING_CERTIFIED = 0, 3

Alpha = Annotated[list[float] | None, typer.Option("--alpha", help="Tolerated risk; one for each --risk. Default .05.")]
Delta = Annotated[float, typer.Option(help="Tolerated chance that the claim is wrong.")]


def claim(
    candidates: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NETWORK]...", help="Folders of saved networks, or .onnx files: what ships."),
    ] = None,
    onnx: Annotated[list[str] | None, typer.Option("--onnx", help="An .onnx file; may be given again.")] = None,
    dense: Annotated[
        str | None, typer.Option(help="The dense network, for risks that compare with it: a folder or an .onnx file.")
    ] = None,
    risk: Annotated[
        list[str] | None,
        typer.Option(help="error, disagreement, accuracy_drop ...; given again, one claim about all. Default: error."),
    ] = None,
    alpha: Alpha = None,
    delta: Delta = 0.05,
    bound: Annotated[
        list[str] | None, typer.Option(help="p-value; one for each --risk. Default: the one that fits the risk.")
    ] = None,
    procedure: Annotated[str, typer.Option(help="How candidates are tested.")] = "fixed_sequence",
    option: Annotated[list[str] | None, typer.Option(help="Of a risk, as k=5 or threshold=0.9.")] = None,
    by_class: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool, typer.Option("--by-class", help="The claim is about every true class, and so about the worst.")
    ] = False,
    anytime: Annotated[  # noqa: FBT002 (a flag of the command line)
        bool, typer.Option("--anytime", help="Evaluate batch by batch, as few examples as it takes.")
    ] = False,
    data: DataName = None,
    tolerated: Annotated[
        int,
        typer.Option(min=0, help="Let so many certification inputs pass that also occur elsewhere, or twice."),
    ] = 0,
    builder: Builder = None,
    out: Annotated[Path, typer.Option(help="The certificate; its losses go beside it.")] = Path("certificate.json"),
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Certify saved networks or ONNX files: how much risk do they have at most, with proof from finitely many examples?

    Of several candidates the sparsest that can be certified is selected. Exits with 3 if none can be.
    """
    from prudent.artefacts import artefact
    from prudent.certificates import write_certificate
    from prudent.claiming import certify_artefacts, certify_artefacts_anytime, check_unseen

    named = [*(candidates or []), *(onnx or [])]
    if not named:
        raise BadInput("certify needs what ships: the folder of a saved network, or --onnx FILE")
    made = _claim(risk, alpha, delta, bound, procedure, option, by_class=by_class, anytime=anytime)
    opened = sorted(_told_apart([artefact(n, data=data, builder=builder) for n in named]), key=lambda c: c.sparsity)
    reference = None if dense is None else artefact(dense, data=data, builder=builder)
    examples = _data(data, [*opened, *([] if reference is None else [reference])])
    found = check_unseen([*opened, *([] if reference is None else [reference])], examples, tolerated=tolerated)
    used = len(opened) * len(examples.certification)
    if anytime:
        certificate, table, used = certify_artefacts_anytime(opened, reference, examples, made)
        write_certificate(certificate, table, out)
    else:
        certificate, tables = certify_artefacts(opened, reference, examples, made)
        write_certificate(certificate, tables, out)
    _say(certificate, out, used, found, as_json=as_json)
    return NOTHING_CERTIFIED if certificate.selected is None else DONE


def plan(
    alpha: Alpha = None,
    delta: Delta = 0.05,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Certification examples that there are.")] = None,
    rate: Annotated[float | None, typer.Option(help="Risk that the network is thought to have.")] = None,
    risk: Annotated[
        list[str] | None,
        typer.Option(help="What is to be certified: see `prudent certify`; given again, one claim about all."),
    ] = None,
    bound: Annotated[
        list[str] | None, typer.Option(help="p-value; one for each --risk. Default: the one that fits the risk.")
    ] = None,
    changed: Annotated[
        float | None,
        typer.Option(help="For accuracy_drop: share of examples on which one network is right, the other wrong."),
    ] = None,
    classes: Annotated[
        int, typer.Option("--by-class", min=1, help="Of a claim about every true class: how many classes there are.")
    ] = 1,
    as_json: AsJson = False,  # noqa: FBT002 (a flag of the command line)
) -> int:
    """Say what can be certified with how many examples, before any network is trained.

    Exits with 3 if nothing can be certified with --n examples.
    """
    from prudent.forecasts import forecast, forecast_jointly, forecast_lines, joint_lines

    risks, alphas = risk or ["error"], alpha or [0.05]
    _check_each(alphas, bound or [], risks)
    if len(risks) == classes == 1:
        one = bound[0] if bound else None
        found = forecast(risks[0], alpha=alphas[0], delta=delta, bound=one, n=n, rate=rate, changed=changed)
        lines, possible = forecast_lines(found), found["most_losses"] is not None
        said = json.dumps(found, indent=1)
    else:
        if changed is not None:
            raise BadInput("--changed is for a claim about accuracy_drop alone: leave it out")
        bounds = (list(bound) * len(risks))[: len(risks)] if bound else None
        alphas = (list(alphas) * len(risks))[: len(risks)]
        joint = forecast_jointly(risks, alphas=alphas, delta=delta, bounds=bounds, groups=classes, n=n, rate=rate)
        lines, possible = joint_lines(joint), bool(joint["possible"])
        said = json.dumps(joint, indent=1)
    typer.echo(said if as_json else "\n".join(lines))
    return NOTHING_CERTIFIED if n is not None and not possible else DONE


def _claim(
    risk: list[str] | None,
    alpha: list[float] | None,
    delta: float,
    bound: list[str] | None,
    procedure: str,
    option: list[str] | None,
    *,
    by_class: bool,
    anytime: bool,
) -> "Claim":
    from prudent.anytime import BOUND as ANYTIME
    from prudent.claiming import Claim
    from prudent.forecasts import fitting_bound
    from prudent.procedures import PROCEDURES

    risks, alphas = tuple(risk or ["error"]), list(alpha or [0.05])
    usual = [ANYTIME if anytime else fitting_bound(name) for name in risks]
    bounds = list(bound) if bound else usual
    if anytime and not set(bounds) <= {ANYTIME, "beta_mixture"}:
        raise BadInput(f"--anytime is by {ANYTIME} or beta_mixture; got --bound {' '.join(bounds)}: leave --bound out")
    PROCEDURES.module(procedure)
    options = _options(option or [], risks)
    if len({(name, tuple(sorted(own.items()))) for name, own in zip(risks, options, strict=True)}) < len(risks):
        raise BadInput(
            f"the same risk is named twice: {', '.join(risks)}; name each once, or give each its own --option"
        )
    if "ood_acceptance" in risks:
        raise BadInput(
            "ood_acceptance is about strangers, and a data set's certification split is not: predict strangers with "
            'split="certification" in Python, and certify those losses'
        )
    _check_each(alphas, bounds, risks)
    return Claim(
        risks=risks, alphas=tuple(alphas * len(risks))[: len(risks)], delta=delta, procedure=procedure,
        bounds=tuple(bounds * len(risks))[: len(risks)], options=options, by_class=by_class,
    )  # fmt: skip


def _check_each(alphas: Sequence[float], bounds: Sequence[str], risks: Sequence[str]) -> None:
    for what, given in (("--alpha", alphas), ("--bound", bounds)):
        if given and len(given) not in (1, len(risks)):
            raise BadInput(f"{len(risks)} risks need as many {what}, or one for all; got {len(given)}")


def _told_apart(found: "list[Artefact]") -> "list[Artefact]":
    """Names that tell candidates from each other: the last folders too, where the last alone would not."""
    if len({candidate.fingerprint for candidate in found}) < len(found):
        raise BadInput("the same network is named twice: certify each candidate once")
    for parts in range(1, 1 + max(len(Path(candidate.path).parts) for candidate in found)):
        names = ["/".join(Path(candidate.path).parts[-parts:]) for candidate in found]
        if len(set(names)) == len(names):
            return [replace(candidate, name=name) for candidate, name in zip(found, names, strict=True)]
    return found


def _options(given: list[str], risks: tuple[str, ...]) -> list[dict[str, float | int | str]]:
    """The options of each risk. One that is given once is for all risks that have it, else there is one for each.

    What no risk has is refused: it would change nothing, and nobody would notice.
    """
    from prudent.errors import UnknownName
    from prudent.risks import options_of

    of = [options_of(risk) for risk in risks]
    known = {name: option for own in of for name, option in own.items()}
    values: dict[str, list[float | int | str]] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            values.setdefault(name, []).append(int(value) if value.lstrip("-").isdigit() else float(value))
        except ValueError as error:
            raise BadInput(f"an option is name=number, as k=5; got {text!r}") from error
    found: list[dict[str, float | int | str]] = [{} for _ in risks]
    for name, each in values.items():
        if name not in known:
            raise UnknownName.of(f"option of {' and '.join(risks)}", name, known)
        if isinstance(known[name].default, int) and not all(isinstance(value, int) for value in each):
            raise BadInput(f"option {name} is a whole number; got {' and '.join(map(str, each))}")
        having = [i for i, own in enumerate(of) if name in own]
        if len(each) not in (1, len(having)):
            raise BadInput(
                f"option {name} is given once, or once for each of {len(having)} risks; got {len(each)} values"
            )
        for i, own_value in zip(having, each * len(having) if len(each) == 1 else each, strict=True):
            found[i][name] = own_value
    return found


def _data(named: str | None, artefacts: list[Any]) -> "Data":
    from prudent.sources import load_data

    if named is not None:
        return load_data(named, {})
    loaders = [found.data for found in artefacts if found.data is not None]
    if not loaders:
        raise BadInput("the certification examples are not known: name a data set with --data")
    loaded: Data = loaders[0]()
    return loaded


def _say(certificate: "Certificate", out: Path, used: int, leaks: "Leaks", *, as_json: bool) -> None:
    from prudent.planning import needed
    from prudent.spending import spent
    from prudent.wording import percent, plural

    spending = spent(out.parent, certificate.data)
    together = percent(max(0.0, 1 - spending.delta))
    if as_json:
        chosen = None if certificate.selected is None else certificate.names[certificate.selected]
        said = {"certificate": str(out), "claim": certificate.sentence(), "selected": chosen,
                "needed": needed(certificate), "forward_examples": used, "claims": spending.claims,
                "delta_spent": spending.delta, "spoiled_examples": leaks.spoiled}  # fmt: skip
        typer.echo(json.dumps(said, indent=1))
        return
    rows = [_row(certificate, i) for i in range(len(certificate.names))]
    print_table(certificate.risk, ("candidate", "sparsity", "examples", "risk seen", "p", ""), rows, narrow=True)
    for line in (certificate.sentence(), certificate.consequence(), needed(certificate), leaks.sentence()):
        if line:
            typer.echo(line)
    typer.echo(f"Written to {out}, from {plural(used, 'forward example')}. Check it: prudent verify {out}")
    if spending.claims > 1:
        typer.echo(
            f"The examples were now spent on {spending.claims} claims: all of them hold together with {together} "
            "confidence, and one that was thought of after another was seen is worth nothing."
        )


def _row(certificate: "Certificate", i: int) -> tuple[str, ...]:
    from prudent.wording import percent

    return (
        certificate.names[i],
        percent(certificate.sparsities[i]),
        f"{certificate.examples(i):,}",
        f"{certificate.empirical_risks[i]:.4f}" if certificate.examples(i) else "-",
        f"{certificate.p_values[i]:.2g}",
        certificate.states[i],
    )
