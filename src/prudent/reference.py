"""The reference page, written from the code itself: every key of a study file, every method with its source."""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from prudent import sections, settings
from prudent.bounds import BOUNDS
from prudent.corruptions import CORRUPTIONS
from prudent.data import DATA
from prudent.files import write_whole
from prudent.merging import TABLES as CHANGING
from prudent.models import MODELS
from prudent.objectives import OBJECTIVES
from prudent.ood import OOD
from prudent.procedures import PROCEDURES
from prudent.risks import LOSSES
from prudent.schedules import SCHEDULES
from prudent.scores import SCORES

TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("top level", settings.Settings),
    ("[data]", sections.Data),
    ("[model]", sections.Model),
    ("[training] and [retraining]", sections.Training),
    ("[[methods]]", settings.Method),
    ("[evaluation]", sections.Evaluation),
    ("[evaluation.mc_dropout]", sections.Dropout),
    ("[evaluation.suite_options]", sections.Suite),
    ("[certification]", sections.Certification),
    ("[certification.declared]", sections.Declared),
    ("[teams]", sections.Teams),
)

LIBRARY = (
    "adoption.adopt", "dropnet.dropnet", "comparison.overlap", "comparison.chance_overlap", "comparison.agreement",
    "deadlines.prune_to_latency", "reestimation.reestimate", "surgery.doctoring.diagnose", "surgery.plans.apply_plan",
    "recutting.importances", "recutting.cut",
    "loss_tables.by_group", "anytime.certify_anytime", "monitoring.watch", "serving.serve", "inversion.upper_bound",
    "inversion.upper_bounds", "planning.most_losses", "planning.examples_needed", "planning.least_examples",
    "forecasts.forecast_jointly",
    "rcps.last_controlled", "crc.control_expected_risk", "conformal.conformal_quantile", "intervals.quantile_rank",
    "multirisk.join_risks", "pareto.certify_pareto", "cascades.choose_thresholds", "cascades.certify_cascade",
    "artefacts.one_shot_path", "claiming.certify_artefacts", "claiming.certify_artefacts_anytime",
    "certificates.losses_of", "spending.spent", "families.certify_family", "families.certify_family_on_average",
    "claim_files.write_pareto", "claim_files.write_family", "claim_files.write_cascade", "claim_files.verify_claim",
    "tallies.tally", "diversity.diversity_of", "diversity.pairwise",
    "focal.focal_diversity", "teams.choose_team", "voting.vote", "voting.combine", "team_reports.compare_team",
    "ensembles.join", "ensembles.join_masks", "ensembles.predict_members", "team_folders.save_team",
    "team_folders.load_team", "team_folders.origin_notes",
    "reevaluation.measure_again", "damage.hits", "damage.paired_p_value",
    "label_noise.relabelled", "augmentation.corrupted",
    "corrupting.corrupt_some", "enclosures.proved_margins", "relaxations.enclose_linearly",
    "relaxations.relaxed_margins", "stability.channel_stability", "ends.ends_of", "auto_pgd.apgd",
    "outside_attacks.foolbox_attack", "intervals.over_seeds", "intervals.paired_over_seeds",
    "dropout.with_dropout", "uncertainty.variation_ratio",
    "uncertainty.pairwise_divergence", "uncertainty.reverse_mutual_information", "measure_families.dropout_family",
    "recalibration.recalibrate", "laplace.subnetworks.last_layer", "laplace.subnetworks.survivors",
    "laplace.subnetworks.most_uncertain", "laplace.posterior.fit_laplace", "laplace.posterior.log_marginal_likelihood",
    "laplace.answers.predict_laplace", "laplace.answers.gaussian_answers", "laplace.answers.with_validated_prior",
)  # fmt: skip
"""Functions that are public without standing in `prudent.__all__`, which is kept short."""

ALL_UNITS = "weight, n:m, block, channel, head"

SCORES_INTRODUCTION = """## Scores

What a score needs is given to `prune` as `batches=` or `example=`. Scores of weights are reduced to blocks, channels or
heads (`reduction=`). "New weights": the method also changes the weights that it keeps.
"""

INTRODUCTION = """# Reference

This page is written by `make docs` from the code; a test keeps it current. For one method in full, read its file: the
docstring gives formula, shapes, units and source.

## Study files

A study file is TOML. Unknown keys are refused with the nearest known one. Wherever a method is named, one of your own
may stand as `package.module:callable`.
"""


def reference() -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    for title, table in TABLES:
        parts.append(f"### {title}\n\n| key | values | default | meaning |\n|---|---|---|---|")
        parts += [f"| `{name}` | {values} | {default} | {meaning} |" for name, values, default, meaning in rows(table)]
        parts.append("")
    parts += [f"### {title}\n\n{meaning}\n" for title, meaning in CHANGING.items()]
    parts += scores()
    parts += losses()
    for catalogue in (SCHEDULES, OBJECTIVES, BOUNDS, PROCEDURES, OOD, CORRUPTIONS, DATA, MODELS):
        parts.append(f"## {catalogue.noun.capitalize()}s\n\n| name | what | source |\n|---|---|---|")
        parts += [f"| `{name}` | {' | '.join(_cell(text) for text in catalogue.summary(name))} |" for name in catalogue]
        parts.append("")
    parts += library()
    return "\n".join(parts)


def losses() -> list[str]:
    """The table of losses that a certificate may be about."""
    parts = ["## Losses\n\nWhat `prudent.losses`, `prudent certify` and the certificates speak of.\n"]
    parts.append("| name | what | range | compares with the dense network |\n|---|---|---|---|")
    for name, risk in LOSSES.items():
        what = (inspect.getdoc(risk.function) or "").split("\n")[0]
        parts.append(f"| `{name}` | {_cell(what)} | [{risk.low:g}, {risk.high:g}] | {'yes' if risk.dense else 'no'} |")
    return [*parts, ""]


def library() -> list[str]:
    """The functions for Python, by the file that they are in."""
    parts = ["## In Python\n\nBesides the names of `prudent` itself:\n", "| function | what |\n|---|---|"]
    for name in LIBRARY:
        module, _, function = name.rpartition(".")
        tree = ast.parse((Path(__file__).parent / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        node = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
        parts.append(f"| `prudent.{name}` | {_cell((ast.get_docstring(node) or '').split(chr(10))[0])} |")
    return [*parts, ""]


def scores() -> list[str]:
    """The table of importance scores: what each needs, and what it can remove."""
    parts = [SCORES_INTRODUCTION, "| name | what | needs | granularities | source |\n|---|---|---|---|---|"]
    for name in SCORES:
        what, source = (_cell(text) for text in SCORES.summary(name))
        needs = ", ".join(SCORES.constant(name, "NEEDS")) or "nothing"
        if "Reweighted" in (SCORES.folder / f"{name}.py").read_text(encoding="utf-8"):
            what += " New weights."
        units = ALL_UNITS if SCORES.constant(name, "UNIT") == "weight" else "channel"
        parts.append(f"| `{name}` | {what} | {needs} | {units} | {source} |")
    return [*parts, ""]


def rows(table: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Key, values, default and meaning of each key of a table that is not a table itself."""
    for name, field in table.model_fields.items():
        if not _holds_tables(field.annotation):
            yield name, _values(field), _default(field), _cell(field.description or "")


def _holds_tables(annotation: Any) -> bool:  # noqa: ANN401 (a type)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_holds_tables(inner) for inner in get_args(annotation))


def _values(field: FieldInfo) -> str:
    return _type(field.annotation) + _limits(field.metadata)


def _type(annotation: Any) -> str:  # noqa: ANN401 (a type)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f'`"{word}"`' for word in inner)
    if origin is Annotated:
        return _type(inner[0]) + _limits([m for field in inner[1:] for m in getattr(field, "metadata", [])])
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "table"
    if origin is UnionType or len(inner) > 1:
        return " or ".join(_type(one) for one in inner if one is not NoneType)
    return {float: "number", int: "integer", str: "text", bool: "true, false"}.get(annotation, str(annotation))


def _limits(metadata: list[Any]) -> str:
    signs = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
    found = [
        f"{sign} {getattr(one, key):g}" for one in metadata for kind, (sign, key) in signs.items() if type(one) is kind
    ]
    return " " + ", ".join(found) if found else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{field.default!r}`" if field.default != "" else "empty"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), reference())
