"""The architecture, read from the imports: levels, no cycles, no torch where there must be none, budgets."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prudent

ROOT = Path(prudent.__file__).parent
FILES = sorted(p for p in ROOT.rglob("*.py"))

LEVELS = {
    0: ("__init__", "_version", "catalogue", "claims", "errors", "seeds", "types", "wording"),
    1: ("admission", "alignment", "anytime", "bet_forecasts", "binned", "bounds", "calibration",
        "calibration_p_values", "calibration_variants", "cascades", "certification", "conformal", "crc", "damage",
        "detection", "diversity", "eprocesses", "evaluation", "families", "focal", "forecasts", "intervals",
        "inversion", "loss_tables", "measure_families", "monitoring", "multirisk", "pareto", "pictures", "planning",
        "potential", "procedures", "proper_scores", "rcps", "reallocation", "recalibration", "regression",
        "resplitting", "risks", "robustness", "segmentation", "selective", "shift_names", "similarity", "smoothing",
        "stopping", "tallies", "team_reports", "teams", "temperature", "uncertainty", "voting", "wealth"),
    2: ("activations", "adoption", "assessment", "attacks", "attention", "augmentation", "auto_pgd", "batches",
        "budgets", "building", "bundles", "comparison", "computed", "controls", "copying", "corrupting",
        "corruptions", "couplings", "demands", "draws", "dropnet", "dropout", "dropout_draws", "dropout_graph",
        "dropout_sources", "dropout_traces", "enclosures", "ends", "ensembles", "examples", "flattening",
        "functional_dropout", "gradients", "granularities", "heads", "identity", "label_noise", "laplace", "latency",
        "low_rank", "masks", "models", "network", "objectives", "observation", "onnx_graph", "ood", "optimizers",
        "outside_attacks", "passes", "pixel_scale", "prediction", "probed_layers", "pruning", "readings",
        "recutting", "reestimation", "relaxations", "runtimes", "sampling", "schedules", "scopes", "scores",
        "scoring", "sensitivities", "separation", "serving", "side_effects", "speed", "stability", "submodules",
        "surgery", "thinning", "training", "unfolding", "units", "upkeep"),
    3: ("archive", "artefacts", "assembling", "certificate_documents", "certificates", "claim_files", "claiming",
        "consistency", "corruption_files", "data", "deadlines", "export", "files", "foreign", "given_weights",
        "keys", "layer_times", "leakage", "merging", "named_networks", "networks", "pacing", "parsing", "probing",
        "recounting", "report", "rounding", "run_folder", "sections", "served_files", "settings", "sources",
        "spending", "splits", "store", "stream_marks", "team_folders"),
    4: ("__main__", "cells", "certifying", "cli", "evaluating", "examining", "execution", "executors", "graph",
        "preflight", "progress", "reevaluation", "reference", "results", "retraining_effects", "scheduling",
        "shipping", "studies", "study_files", "suite_answers", "suite_checks", "suite_results", "suite_summary",
        "summary", "tables", "team_results", "teaming", "terminal", "trimmed", "trimming", "verifying", "watching",
        "wishes"),
}  # fmt: skip


def name_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(["prudent", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def level_of(module: str) -> int:
    top = module.split(".")[1] if "." in module else "__init__"
    return next(level for level, names in LEVELS.items() if top in names)


def imports_of(path: Path, *, lazy: bool) -> set[str]:
    """Modules of prudent that a file imports; with `lazy`, also those imported inside functions."""
    modules = {name_of(p) for p in FILES}
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if lazy else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("prudent"):
            inside = {f"{node.module}.{a.name}" for a in node.names}
            found |= inside & modules
            if inside - modules:  # something of the package's own, not only files in it
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("prudent")}
    return (found & modules) - {name_of(path), "prudent"}


def test_every_file_has_a_level():
    for path in FILES:
        level_of(name_of(path))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_import_from_their_own_level_or_below(path):
    if path == ROOT / "__init__.py":
        return  # the list of public names, lazy
    own = level_of(name_of(path))
    for module in imports_of(path, lazy=True):
        assert level_of(module) <= own, f"{name_of(path)} (level {own}) imports {module} (level {level_of(module)})"


def test_no_cycles_and_short_chains():
    graph = {name_of(p): imports_of(p, lazy=False) for p in FILES if p != ROOT / "__init__.py"}
    depth: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> int:
        assert module not in path, f"import cycle: {' -> '.join([*path, module])}"
        if module not in depth:
            depth[module] = 1 + max((visit(m, (*path, module)) for m in graph.get(module, ())), default=0)
        return depth[module]

    longest = max(visit(module, ()) for module in graph)
    assert longest <= 22, f"the longest chain of imports has {longest} files"


def test_levels_0_and_1_and_the_certificates_work_without_torch():
    modules = [name_of(p) for p in FILES if level_of(name_of(p)) <= 1]
    code = f"""
import sys
sys.modules["torch"] = None  # any import of torch now fails
import importlib
for name in {[*modules, "prudent.certificates", "prudent.settings", "prudent.store", "prudent.report", "prudent.cli"]}:
    importlib.import_module(name)
import prudent
prudent.certify, prudent.verify, prudent.losses, prudent.evaluate, prudent.Predictions
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_help_imports_nothing_heavy():
    code = """
import sys
from prudent.cli import run
assert run(["--help"]) == 0
heavy = {
    "torch", "numpy", "scipy", "sklearn", "plotly", "pydantic", "jinja2", "lightning_fabric", "onnx"
} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_budgets(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300, f"{path.name} has {len(text.splitlines())} lines; at most 300"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{path.name} does not say what it is"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= 40, f"{path.name}: {node.name} has {lines} lines without its docstring; at most 40"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_things_are_documented(path):
    tree = ast.parse(path.read_text())
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    methods = [m for c in classes for m in c.body if isinstance(m, ast.FunctionDef)]
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    for node in [*classes, *methods, *functions]:
        if not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_no_pickle_and_no_registry_address():
    for path in FILES:
        text = path.read_text()
        assert "import pickle" not in text, path
        assert "torch.load(" not in text, path
