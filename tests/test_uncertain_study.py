"""Uncertain weights and maps of the plane in a study: what its cells write is what the library says of its networks."""

import base64
import json

import numpy as np
import pytest
import torch

import prudent
from prudent.archive import predictions_from_bytes
from prudent.batches import Batches
from prudent.cells import maps as maps_cell
from prudent.errors import BadInput
from prudent.evaluation import evaluate
from prudent.graph import Fingerprints, build_graph
from prudent.laplace.answers import predict_laplace
from prudent.laplace.posterior import fit_laplace
from prudent.laplace.subnetworks import survivors
from prudent.parsing import parse
from prudent.prediction import predict
from prudent.pruning import Pruned
from prudent.sources import load_data
from prudent.store import Store
from prudent.uncertainty import mutual_information, predictive_entropy

STUDY = """
name = "doubts"
seeds = [3, 0]
[data]
name = "moons"
options = { train = 200, test = 60, certification = 100, validation = 50 }
[model]
name = "mlp"
options = { hidden = [12], dropout = 0.2 }
[training]
epochs = 4
batch_size = 20
[[methods]]
name = "weights"
sparsities = [0.5]
[evaluation]
mc_samples = 4
laplace = "subnetwork"
laplace_samples = 6
maps = 7
latency_turns = 3
[certification]
declared = { method = "weights", seed = 3 }
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doubts")
    (folder / "doubts.toml").write_text(STUDY)
    return prudent.study(folder / "doubts.toml", out=folder / "runs", executor="inline")


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def graph_and_store(run):
    study = parse(STUDY, source="doubts")
    data = load_data("moons", study.data.options)
    return data, build_graph(study, Fingerprints(task=data.fingerprint, ood="")), Store(str(run.parent / "store"))


def test_uncertain_weights_are_those_that_the_mask_kept(run, results):
    data, graph, store = graph_and_store(run)
    found = next(n for n in results["networks"] if (n["seed"], n["method"]) == (3, "weights"))
    network = prudent.load(run / found["folder"])
    assert isinstance(network, Pruned)
    assert found["laplace"]["weights"] == network.mask.remaining == 24
    torch.set_num_threads(1)
    posterior = fit_laplace(network.model, data.train.batches(512), survivors(network.model, network.mask))
    assert found["laplace"]["prior_precision"] == pytest.approx(posterior.prior_precision, rel=1e-4)
    own = predict_laplace(posterior, data.test.batches(512), samples=6, seed=3)
    kept = predictions_from_bytes(store.read(graph.networks[3, "weights", 0.5].laplace.key, "test_laplace"))
    np.testing.assert_allclose(kept.logits, own.logits, atol=1e-3)
    assert (kept.split, kept.members, kept.labels.tolist()) == ("test", 6, own.labels.tolist())
    for name, metric in evaluate(kept).items():
        assert found["laplace_metrics"][name]["value"] == pytest.approx(metric.value, abs=1e-12)


def test_maps_are_answers_on_a_grid_of_the_networks_of_the_declared_seed(run, results):
    with_maps = {(n["seed"], n["method"]) for n in results["networks"] if "maps" in n}
    assert with_maps == {(3, ""), (3, "weights")}
    data, *_ = graph_and_store(run)
    found = next(n for n in results["networks"] if (n["seed"], n["method"]) == (3, "weights"))
    maps, model = found["maps"], prudent.load(run / found["folder"]).model
    assert maps["points"] == 7
    inputs = data.train.inputs
    wide = inputs.max(0) - inputs.min(0)
    expected = [[float(inputs[:, d].min() - 0.6 * wide[d]), float(inputs[:, d].max() + 0.6 * wide[d])] for d in (0, 1)]
    np.testing.assert_allclose([maps["x"], maps["y"]], expected, rtol=1e-5)
    points = [[x, y] for y in np.linspace(*maps["y"][::-1], 7) for x in np.linspace(*maps["x"], 7)]
    batch = Batches(inputs=torch.tensor(points, dtype=torch.float32), split="ood")
    plain, sampled = predict(model, batch), predict(model, batch, mc_samples=4, seed=3)
    wanted = {
        "probability": plain.probabilities[:, 1],
        "entropy": predictive_entropy(plain) / np.log(2),
        "mc_entropy": predictive_entropy(sampled) / np.log(2),
        "mc_mutual_information": mutual_information(sampled) / np.log(2),
    }
    assert set(maps["maps"]) == {*wanted, "laplace_entropy", "laplace_mutual_information"}
    for name, values in wanted.items():
        levels = np.frombuffer(base64.b64decode(maps["maps"][name]), np.uint8)
        np.testing.assert_allclose(levels / 255, values, atol=0.5 / 255 + 1e-4)
    assert maps["examples"][0][:2] == pytest.approx(data.test.inputs[0].tolist())
    assert len(maps["examples"]) == 60


def test_the_page_shows_them(run):
    page = (run / "report.html").read_text()
    assert "Where does it doubt?" in page
    assert page.count('class="map"') == 1 * 6 * 2


def test_keys_of_what_was_there_before_do_not_depend_on_them():
    asked = parse(STUDY, source="doubts")
    text = "\n".join(line for line in STUDY.splitlines() if not line.startswith(("laplace", "maps")))
    without = parse(text, source="doubts")
    data = Fingerprints(task="t" * 64, ood="")
    one, other = build_graph(asked, data), build_graph(without, data)
    assert len(one.cells) == len(other.cells) + 4 + 2
    for address, trio in other.networks.items():
        assert (trio.laplace, trio.maps) == (None, None)
        for kind in ("network", "predictions", "latency"):
            assert getattr(trio, kind).key == getattr(one.networks[address], kind).key
    assert "laplace" not in without.model_dump(mode="json")["evaluation"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('laplace = "subnetwork"', ""), "laplace_samples needs laplace"),
        (('laplace = "subnetwork"', 'laplace = "last_layer"\nlaplace_weights = 5'), "laplace_weights says how large"),
        (("maps = 7", "maps = 4"), "greater than or equal to 5"),
        (('laplace = "subnetwork"', 'laplace = "full"'), "last_layer"),
    ],
)
def test_settings_that_do_not_fit_together(change, message):
    with pytest.raises(BadInput, match=message):
        parse(STUDY.replace(*change), source="doubts")


def test_maps_of_images_are_refused_before_any_work(tmp_path):
    (tmp_path / "x.toml").write_text(
        STUDY.replace('"moons"', '"digits"').replace("options = { train = 200, test = 60", "options = { test = 60")
    )
    with pytest.raises(BadInput, match="maps show examples of two numbers and two classes; digits has"):
        prudent.study(tmp_path / "x.toml", out=tmp_path / "runs", executor="inline")


def test_bytes_round_to_the_nearest_level():
    found = maps_cell.bytes_of(np.array([0.0, 1.0, 0.5, 1.2, -0.1, 0.001]))
    assert list(found) == [0, 255, 128, 255, 0, 0]
