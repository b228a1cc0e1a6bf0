"""What the documents say is executed, and what is written from the code is current."""

import re
from pathlib import Path

import pytest

from prudent.reference import reference

ROOT = Path(__file__).parents[1]


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second, third, fourth, fifth = blocks("README.md")
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) <= 12
    scope: dict[str, object] = {}
    exec(compile(first, "README.md", "exec"), scope)
    said = capsys.readouterr().out
    assert "at most 5\u202f% of predictions differ from the dense network at 80\u202f% sparsity." in said
    exec(compile(second, "README.md", "exec"), scope)
    assert scope["few"].parameters <= 20_000
    assert scope["pattern"].sparsity == 0.5
    assert scope["control"].mask.removed_by_layer == scope["pruned"].mask.removed_by_layer
    exec(compile(third, "README.md", "exec"), scope)
    names = sorted(p.name for p in (tmp_path / "small").iterdir())
    assert names == ["network.json", "network.safetensors", "plan.json"]
    capsys.readouterr()
    exec(compile(fourth, "README.md", "exec"), scope)
    said = capsys.readouterr().out
    assert "differ from the dense network and accuracy is at most 4\u202f% lower" in said or "Nothing certified" in said
    assert set(scope["both"].binding) <= {"disagreement", "accuracy_drop"}
    exec(compile(fifth, "README.md", "exec"), scope)
    doubt, unsure = scope["doubt"], scope["unsure"]
    assert doubt.logits.shape == unsure.logits.shape == (50, len(scope["data"].test), 10)
    assert 0 < float(capsys.readouterr().out.split()[0]) < 1


def test_the_example_of_contributing_keeps_the_contract(tmp_path, monkeypatch):
    import torch

    from prudent.network import prunable
    from tests.conftest import batches, chain

    scope: dict[str, object] = {}
    exec(compile(blocks("CONTRIBUTING.md")[0], "CONTRIBUTING.md", "exec"), scope)
    scores = scope["square"](chain(), batches())
    assert {k: v.shape for k, v in scores.items()} == {k: v.shape for k, v in prunable(chain()).items()}
    assert all(torch.isfinite(v).all() for v in scores.values())


def test_the_reference_is_current():
    assert (ROOT / "docs" / "reference.md").read_text() == reference(), "run: make docs"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/design.md", "docs/benchmarks.md"])
def test_links_point_at_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_the_readme_names_the_commands_that_exist():
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", text)) <= targets
