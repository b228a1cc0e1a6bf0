"""Fractions by the name of the layer in a study: what each layer loses, and one line for what does not fit."""

import json

import pytest
import torch

import prudent
from prudent.errors import BadInput
from prudent.networks import load
from prudent.parsing import parse
from prudent.report.reading import Run, Verification
from prudent.run_folder import read_results
from prudent.scopes import count

# small_cnn: conv1 of 4 x 9, conv2 of 6 x 36, conv3 of 8 x 54, fc1 of 16 x 32, fc2 of 10 x 16 weights
UNITS = {"conv1.weight": 36, "conv2.weight": 216, "conv3.weight": 432, "fc1.weight": 512, "fc2.weight": 160}
FRACTIONS = {"conv2.weight": 0.25, "conv3.weight": 0.7, "fc1.weight": 0.9}
REMOVED = {name: count(FRACTIONS.get(name, 0.0), units) for name, units in UNITS.items()}
SPARSITY = sum(REMOVED.values()) / sum(UNITS.values())

STUDY = f"""
name = "fractions"
seeds = [0]
[data]
options = {{ validation = 40, certification = 150, test = 100 }}
[model]
options = {{ widths = [4, 6, 8], hidden = 16 }}
[training]
epochs = 2
[[methods]]
name = "shares"
fractions = {{ conv2 = 0.25, "conv3.weight" = 0.7, fc1 = 0.9 }}
sparsities = [{SPARSITY:.6f}]
[[methods]]
name = "control"
control_of = "shares"
control = "random"
sparsities = [{SPARSITY:.6f}]
[[methods]]
name = "channels"
granularity = "channel"
fractions = {{ conv3 = 0.5, fc1 = 0.25 }}
sparsities = [{8 / 34:.4f}]
[evaluation]
latency_turns = 3
[certification]
alpha = 0.9
declared = {{ method = "shares" }}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "fractions.toml").write_text(STUDY)
    return prudent.study(folder / "fractions.toml", out=folder, executor="inline")


def entries(run):
    return {entry["method"]: entry for entry in json.loads((run / "results.json").read_text())["networks"]}


def test_each_layer_loses_its_fraction(run):
    found = entries(run)
    shares, control = (load(run / found[name]["folder"]).mask for name in ("shares", "control"))
    assert shares.removed_by_layer == control.removed_by_layer == REMOVED
    assert not all(torch.equal(shares.kept[name], control.kept[name]) for name in UNITS)
    assert found["shares"]["sparsity"] == shares.sparsity == pytest.approx(SPARSITY)
    assert found["channels"]["layers"] == {"conv1": [4, 4], "conv2": [6, 6], "conv3": [8, 4], "fc1": [16, 12]}


def test_the_smallest_weights_of_each_layer_go(run):
    """The definition: of each layer by itself, the weights of least magnitude of the dense network."""
    found = entries(run)
    dense, mask = load(run / found[""]["folder"]), load(run / found["shares"]["folder"]).mask
    for name, kept in mask.kept.items():
        size = dense.get_parameter(name).abs()
        if not kept.all():
            assert size[~kept].max() <= size[kept].min()


def test_the_page_knows_that_no_scope_was_used(run):
    page = Run(read_results(run), Verification(held=0, broken=()))
    assert [method.scope for method in page.methods] == ["fractions", "global", "fractions"]


OWN = 'fractions = { conv2 = 0.25, "conv3.weight" = 0.7, fc1 = 0.9 }\n'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (OWN + "sparsities = [", OWN + "sparsities = [0.1, ", "come to one sparsity, so sparsities has one entry; got"),
        (OWN, OWN + 'scope = "layer"\n', "method 'shares': fractions say what each layer loses: leave scope"),
        (OWN, OWN + "minimum = 1\n", "leave scope and minimum out"),
        (OWN, OWN + 'schedule = "gradual"\n', "removed at once, not during training as schedule 'gradual'"),
        (OWN, OWN + 'granularity = "n:m"\npattern = [2, 4]\n', "leave fractions out"),
        (
            'control = "random"\n',
            'control = "random"\nfractions = { fc1 = 0.5 }\n',
            "what each layer loses from 'shares'",
        ),
        ("conv2 = 0.25", "conv2 = 1.0", r"fractions.conv2: input should be less than 1; got 1.0"),
        ("conv2 = 0.25", "conv2 = -0.1", "greater than or equal to 0; got -0.1"),
        ("conv2 = 0.25", 'conv2 = "half"', "fractions.conv2: input should be a valid number; got 'half'"),
        (OWN, "fractions = {}\n", "at least 1 item"),
    ],
)
def test_what_does_not_go_with_fractions_is_one_line(old, new, message):
    assert old in STUDY
    with pytest.raises(BadInput, match=message) as error:
        parse(STUDY.replace(old, new, 1), source="s")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            f"sparsities = [{SPARSITY:.6f}]",
            "sparsities = [0.5]",
            f"come to {SPARSITY:.6g} of all units, so sparsities is",
        ),
        ("conv2 = 0.25", "conv4 = 0.25", "no layer named 'conv4'. Did you mean 'conv"),
        ("conv3 = 0.5", "conv3 = 0.99", "layer 'conv3.weight': sparsity 0.99 of 8 units leaves none"),
    ],
)
def test_what_the_network_does_not_have_is_refused_before_any_work(tmp_path, old, new, message):
    assert old in STUDY
    file = tmp_path / "x.toml"
    file.write_text(STUDY.replace(old, new))
    with pytest.raises(BadInput) as error:
        prudent.study(file, out=tmp_path, executor="inline")
    assert message in str(error.value)
    assert not list(tmp_path.glob("store/*"))
