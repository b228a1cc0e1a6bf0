"""The cells of a suite, each against the same by hand; and what is refused before any of them runs."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_arrays
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.functional import cross_entropy

from prudent.alignment import unbiased_hsic
from prudent.archive import predictions_from_bytes
from prudent.cells import Input
from prudent.cells.aligned import aligned
from prudent.cells.attacked import _relu_inputs, attacked
from prudent.cells.dense import dense
from prudent.cells.shifted import shifted
from prudent.cells.strangers import strangers
from prudent.corrupting import add_noise, corrupt
from prudent.errors import BadInput
from prudent.foreign import load_foreign, some_of
from prudent.graph import Fingerprints, build_graph
from prudent.networks import unpack
from prudent.parsing import parse
from prudent.pixel_scale import PixelScale
from prudent.relaxations import relaxed_margins
from prudent.sources import load_data
from prudent.splits import Data, Examples, partition
from prudent.suite_checks import ready_suite

MODEL = {"name": "small_cnn", "options": {"widths": [4, 6, 8], "hidden": 16}}
RECIPE = {
    "epochs": 2, "batch_size": 64, "lr": 0.01, "optimizer": "adam", "momentum": 0.9, "weight_decay": 0.0,
    "schedule": "one_cycle", "patience": None,
}  # fmt: skip
SCALE = {"mean": [0.25], "std": [0.5]}
GIVEN = {"data": {"name": f"{__name__}:standardised", "options": SCALE}, "model": MODEL, "seed": 0}


def standardised(*, mean: list[float], std: list[float]) -> Data:
    """Digits as (pixel - mean) / std, under the names of options that published data sets use for it."""
    digits = load_data("digits", {"validation": 40, "certification": 150, "test": 100})
    splits = {
        name: Examples(inputs=(e.inputs - mean[0]) / std[0], labels=e.labels, ids=e.ids, split=name)
        for name, e in digits.splits.items()
    }
    return Data(name="standardised", classes=digits.classes, splits=splits, about="digits")


def letters(*, channels: int = 1) -> Data:
    """Another task of the same format, with three classes."""
    rng = np.random.default_rng(0)
    return partition(
        rng.random((90, channels, 8, 8), np.float32), rng.integers(0, 3, 90), name="letters", classes=("a", "b", "c"),
        validation=10, certification=10, test=50, seed=0, about="letters",
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Data:
    return standardised(**SCALE)


@pytest.fixture(scope="module")
def made() -> tuple[Input, Input]:
    """The dense networks of two seeds."""

    def of(seed: int) -> Input:
        found = dense({**GIVEN, "seed": seed, "training": RECIPE, "checkpoints": []}, {})
        return Input(read=found.outputs.__getitem__, values=found.values)

    return of(0), of(1)


@pytest.fixture(scope="module")
def network(made):
    return unpack({name: made[0].read(name) for name in ("network.json", "network.safetensors")}).eval()


def answer(network: nn.Module, pixels: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return network((pixels - 0.25) / 0.5).numpy()


def pixels_of(examples: Examples) -> torch.Tensor:
    return (torch.from_numpy(examples.inputs) * 0.5 + 0.25).clamp(0, 1)


def test_shifted_images_are_corrupted_as_pixels_and_answered_as_inputs(made, network, data):
    own = {"examples": 30, "corruptions": ["fog", "contrast"], "severities": [2, 5], "noise": "gaussian",
           "noises": [20.0]}  # fmt: skip
    found = {k: predictions_from_bytes(v) for k, v in shifted(GIVEN | own, {"network": made[0]}).outputs.items()}
    assert list(found) == ["nominal", "fog-2", "fog-5", "contrast-2", "contrast-5", "noise-20.0"]
    some = some_of(data.test, 30)
    pixels, ids = pixels_of(some), torch.from_numpy(some.ids)
    by_hand = {
        "nominal": pixels,
        "fog-5": corrupt(pixels, "fog", severity=5, ids=ids),
        "contrast-2": corrupt(pixels, "contrast", severity=2, ids=ids),
        "noise-20.0": add_noise(pixels, size=20, kind="gaussian", ids=ids),
    }
    for name, images in by_hand.items():
        np.testing.assert_allclose(found[name].logits, answer(network, images), atol=1e-5)
        assert found[name].split == "test"
        assert (found[name].labels == some.labels).all()
    assert len({one.data for one in found.values()}) == len(found), "answers to other images cannot be compared"


def test_some_examples_are_those_of_more_and_keep_their_order(data):
    few, more = some_of(data.test, 20), some_of(data.test, 60)
    assert len(few) == 20
    assert set(few.ids) < set(more.ids)
    assert (np.diff(few.ids) > 0).all()
    at = np.searchsorted(data.test.ids, few.ids)
    assert (data.test.inputs[at] == few.inputs).all()
    assert (data.test.labels[at] == few.labels).all()
    assert some_of(data.test, None) is data.test is some_of(data.test, 100)


def test_detectors_are_those_of_the_network_on_every_set(made, network, data):
    sets = [
        {"name": "photo_patches", "options": {"n": 40}, "scaled": True},
        {"name": f"{__name__}:letters", "options": {}, "scaled": False},
    ]
    own = {"sets": sets, "detectors": ["energy", "max_logit"], "fitted": 50, "examples": 30}
    found = strangers(GIVEN | own, {"network": made[0]})
    known = answer(network, pixels_of(some_of(data.test, 30)))
    with torch.no_grad():  # of [data]: as the set is; further sets: their pixels on the task's scale
        patches = network(torch.from_numpy(load_data("photo_patches", {"n": 40}).splits["ood"].inputs[:])).numpy()
    patches = patches[np.isin(np.arange(40), some_of(load_data("photo_patches", {"n": 40}).splits["ood"], 30).ids)]
    other = answer(network, torch.from_numpy(some_of(letters().test, 30).inputs))
    assert len(found.values["separations"]) == 4
    for row in found.values["separations"]:
        ood = patches if row["strangers"] == "photo_patches" else other
        score = (lambda z: -z.max(axis=1)) if row["detector"] == "max_logit" else (
            lambda z: -np.log(np.exp(z.astype(np.float64)).sum(axis=1)))  # fmt: skip
        truth = np.r_[np.zeros(len(known)), np.ones(len(ood))]
        assert row["values"]["auroc"] == pytest.approx(roc_auc_score(truth, np.r_[score(known), score(ood)]), abs=1e-9)
    stored = predictions_from_bytes(found.outputs[f"ood-{__name__}:letters"])
    np.testing.assert_allclose(stored.logits, other, atol=1e-5)
    assert stored.split == "ood"
    assert stored.labels is None
    np.testing.assert_allclose(predictions_from_bytes(found.outputs["known"]).logits, known, atol=1e-5)


def test_a_task_as_strangers_keeps_its_classes(data):
    found = load_foreign(f"{__name__}:letters", {}, like=data, scale=None, most=20)
    test = letters().test
    at = np.searchsorted(test.ids, found.examples.ids)
    assert (found.kinds == test.labels[at]).all()
    assert (found.examples.inputs == test.inputs[at]).all()
    assert found.names == ("a", "b", "c")
    patches = load_foreign("photo_patches", {"n": 5}, like=data, scale=None, most=None)
    assert (patches.kinds, patches.names) == (None, ())


def test_grey_strangers_of_a_task_in_colour():
    colour = letters(channels=3)
    scale = PixelScale(mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 4.0])
    found = load_foreign("photo_patches", {"n": 5}, like=colour, scale=scale, most=None).examples.inputs
    grey = load_data("photo_patches", {"n": 5}).splits["ood"].inputs[:, 0]
    for channel, (mean, std) in enumerate(((0.1, 1), (0.2, 2), (0.3, 4))):
        np.testing.assert_allclose(found[:, channel], (grey - mean) / std, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("photo_patches", {"size": 6}, r"format of the task, \(1, 8, 8\); 'photo_patches' has \(1, 6, 6\)"),
        ("moons", {}, "format of the task"),
        ("photo_patch", {}, "no data set named 'photo_patch'"),
    ],
)
def test_strangers_of_another_format_are_refused(data, name, options, message):
    with pytest.raises(BadInput, match=message):
        load_foreign(name, options, like=data, scale=None, most=None)


def test_the_task_is_no_stranger_to_itself():
    digits = load_data("digits", {})
    with pytest.raises(BadInput, match="strangers to 'digits' come from another data set"):
        load_foreign("digits", {}, like=digits, scale=None, most=None)


def test_attacks_in_pixels(made, network, data):
    own = {"attacked": 25, "radii": [8.0, 40.0], "steps": 4, "crown": 20}
    found = attacked(GIVEN | own, {"network": made[0]})
    some = some_of(data.test, 25)
    pixels, labels = pixels_of(some), torch.from_numpy(some.labels)
    arrays = load_arrays(found.outputs["margins"])

    def margins(images: torch.Tensor) -> np.ndarray:
        logits = answer(network, images)
        own = logits[np.arange(25), some.labels]
        logits[np.arange(25), some.labels] = -np.inf
        return logits.max(axis=1) - own

    np.testing.assert_allclose(arrays["clean"], margins(pixels), atol=1e-4)
    here = pixels.clone().requires_grad_()
    cross_entropy(network((here - 0.25) / 0.5), labels, reduction="sum").backward()
    for row, radius in enumerate((8, 40)):
        stepped = (pixels + radius / 255 * here.grad.sign()).clamp(0, 1)
        np.testing.assert_allclose(arrays["fgsm"][row], margins(stepped), atol=1e-3)
        # what is found never undercuts what is proved, and more steps never find less
        assert (arrays["clean"] <= arrays["random"][row] + 1e-5).all()
        assert (arrays["random"][row] <= arrays["pgd"][row] + 1e-5).all()
        assert (arrays["pgd"][row] <= arrays["apgd"][row]).all()
        assert (arrays["apgd"][row, :20] <= -arrays["crown"][row] + 1e-4).all()
        assert (arrays["crown"][row] + 1e-6 >= np.minimum(arrays["proved"][row, :20], -arrays["apgd"][row, :20])).all()
        assert (arrays["apgd"][row] <= -arrays["proved"][row] + 1e-4).all()
    values = found.values
    assert values["n"] == 25
    assert values["clean"] == int((arrays["clean"] > 0).sum())
    for name in ("random", "fgsm", "pgd", "apgd"):
        assert values["counts"][name] == [int((row > 0).sum()) for row in arrays[name]]
    assert values["proved"] == [int((row > 0).sum()) for row in arrays["proved"]]
    assert values["counts"]["pgd"][1] > values["counts"]["random"][1], "the attack must find something"
    certified = [int((row > 0).sum()) for row in arrays["crown"]]
    assert values["crown"] == {"n": 20, "certified": certified, "inner": "crown"}


def test_the_ordering_holds_and_each_step_finds_something(made, network, data):
    """sampled <= PGD <= APGD <= linear bounds leave open <= intervals leave open, and none of them is idle."""
    own = {"attacked": 60, "radii": [1.0, 3.0, 6.0], "steps": 2, "apgd": 12, "crown": 60}
    found = attacked(GIVEN | own, {"network": made[0]})
    values = found.values
    open_ = [60 - k for k in values["crown"]["certified"]], [60 - k for k in values["proved"]]
    chain = [[values["clean"]] * 3, *(values["counts"][k] for k in ("random", "pgd", "apgd")), *open_]
    for less, more in itertools.pairwise(chain):
        assert all(a <= b for a, b in zip(less, more, strict=True)), chain
    for less, more in ((chain[2], chain[3]), (chain[4], chain[5])):
        assert sum(less) < sum(more), (chain, "of no use")
    # by hand: linear bounds of what is open, whatever was skipped
    some = some_of(data.test, 60)
    model = nn.Sequential(nn.BatchNorm2d(1, eps=0.0, affine=False), network)
    model[0].running_mean, model[0].running_var = torch.tensor([0.25]), torch.tensor([0.25])
    true = torch.from_numpy(some.labels)
    for row, radius in enumerate(own["radii"]):
        kept = relaxed_margins(model.eval(), pixels_of(some), true, radius=radius / 255)
        assert int((kept > 0).sum()) == values["crown"]["certified"][row]


def test_attacks_that_are_not_asked_for(made):
    base = {"attacked": 8, "radii": [2.0], "steps": 1}
    found = attacked(GIVEN | base | {"apgd": 0, "crown": 0}, {"network": made[0]})
    assert set(load_arrays(found.outputs["margins"])) == {"random", "fgsm", "pgd", "clean", "proved"}
    assert found.values["crown"] is None
    whole = attacked(GIVEN | base, {"network": made[0]})
    assert set(load_arrays(whole.outputs["margins"])) >= {"apgd", "crown"}
    assert whole.values["crown"]["n"] == 8


def test_large_networks_get_linear_bounds_from_intervals(made, monkeypatch):
    monkeypatch.setattr("prudent.cells.attacked.MOST_UNITS", 100)
    found = attacked(GIVEN | {"attacked": 8, "radii": [2.0], "steps": 1}, {"network": made[0]})
    assert found.values["crown"]["inner"] == "interval"
    seen = []
    with torch.no_grad():
        network = unpack({n: made[0].read(n) for n in ("network.json", "network.safetensors")}).eval()
        for layer in network.modules():
            if isinstance(layer, nn.ReLU):
                layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][0].numel()))
        network(torch.zeros(1, 1, 8, 8))
    plain = unpack({n: made[0].read(n) for n in ("network.json", "network.safetensors")}).eval()
    assert _relu_inputs(plain, torch.zeros(1, 1, 8, 8)) == sum(seen) > 100


def test_what_intervals_cannot_go_through_is_said(made, monkeypatch):
    monkeypatch.setattr("prudent.cells.attacked.module_of", Plus)
    found = attacked(GIVEN | {"attacked": 5, "radii": [1.0], "steps": 1}, {"network": made[0]})
    assert found.values["proved"] is None
    assert "is Plus" in found.values["note"]
    assert "proved" not in load_arrays(found.outputs["margins"])


class Plus(nn.Module):
    """A network that intervals do not know."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs)


def test_alignment_of_layers(made, data):
    own = {"aligned": 100}
    found = aligned(GIVEN | own, {"network": made[0], "dense": made[1]}).values
    assert found["n"] == 100
    both = [unpack({n: m.read(n) for n in ("network.json", "network.safetensors")}).eval() for m in made]
    inputs = torch.from_numpy(data.test.inputs)
    first = [dict(model.named_modules())["conv1"] for model in both]
    with torch.no_grad():
        answers = [layer(inputs).flatten(1).double().numpy() for layer in first]
    x, y = answers
    expected = unbiased_hsic(x, y) / np.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
    assert found["layers"]["conv1"] == pytest.approx(expected, abs=1e-6)
    assert len(found["layers"]) == 5
    alike = aligned(GIVEN | own, {"network": made[0], "dense": made[0]}).values
    assert all(value == pytest.approx(1) for value in alike["layers"].values())


def test_pixels_and_back():
    scale = PixelScale(mean=[0.1, 0.2, 0.3], std=[0.5, 1.0, 2.0])
    pixels = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    inputs = scale.inputs(pixels)
    assert torch.allclose(scale.pixels(inputs), pixels, atol=1e-6)
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 1.0), (0.3, 2.0))):
        assert torch.allclose(inputs[:, channel], (pixels[:, channel] - mean) / std)
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 2))
    with torch.no_grad():
        assert torch.allclose(scale.before(model)(pixels), model(inputs), atol=1e-5)
    assert PixelScale().before(model) is model
    assert torch.equal(PixelScale().pixels(pixels), pixels)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.rand(3, 2), r"images are \(n, c, h, w\) with 1 or 3 channels; got shape \(3, 2\)"),
        (torch.rand(3, 2, 4, 4), "1 or 3 channels"),
        (torch.rand(3, 1, 4, 4) + 0.5, "pixels lie in"),
        (torch.full((3, 1, 4, 4), float("nan")), "pixels lie in"),
    ],
)
def test_what_are_no_pixels(inputs, message):
    with pytest.raises(BadInput, match=message):
        PixelScale().pixels(inputs)


STUDY = """
name = "x"
[[methods]]
name = "m"
sparsities = [0.5]
[certification]
declared = { method = "m" }
"""


def suite(text: str = "", *, data: str = 'name = "digits"'):
    own = f'[evaluation]\nsuite = "full"\n[evaluation.suite_options]\n{text}\n[data]\n{data}\n'
    return parse(STUDY + own, source="x.toml")


def test_all_options_of_a_suite_are_written_out():
    study = suite()
    written = study.model_dump(mode="json")["evaluation"]
    assert written["suite"] == "full"
    assert len(written["suite_options"]["corruptions"]) == 19
    assert len(written["suite_options"]["detectors"]) == 12
    assert parse(STUDY + '[evaluation]\nsuite = "full"\n', source="x.toml").id == suite(data="").id == study.id
    without = parse(STUDY, source="x.toml")
    assert not {"suite", "suite_options"} & without.model_dump(mode="json")["evaluation"].keys()
    assert without.id != study.id != suite("severities = [1]").id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('corruptions = ["fogg"]', "no corruption named 'fogg'. Did you mean 'fog'"),
        ('detectors = ["enrgy"]', "no detector named 'enrgy'. Did you mean 'energy'"),
        ('ood = ["svn"]', "no data set named 'svn'. Did you mean 'svhn'"),
        ("severities = [1, 1]", r"severities must differ; got \[1, 1\]"),
        ("severities = [6]", "less than or equal to 5"),
        ("noises = [-1.0]", "greater than 0"),
        ('ood = ["photo_patches"]', "'photo_patches' is the set of .data. already"),
        ("ood_options = { svhn = { test = 5 } }", "no further set named 'svhn'"),
        ("severity = [1]", "no key 'evaluation.suite_options.severity'; did you mean 'severities'"),
    ],
)
def test_suites_that_cannot_be(text, message):
    with pytest.raises(BadInput, match=message):
        suite(text, data='ood = "photo_patches"')


def test_options_without_a_suite_are_refused():
    with pytest.raises(BadInput, match='set evaluation.suite = "full", or leave them out'):
        parse(STUDY + "[evaluation.suite_options]\nsteps = 3\n", source="x.toml")


def test_what_does_not_apply_is_said():
    study = suite(data='name = "moons"')
    ready = ready_suite(study, load_data("moons", {}))
    assert (ready.images, ready.strangers) == (False, ())
    assert ready.left_out == (
        "Corruption, noise and attacks are left out: images are (n, c, h, w) with 1 or 3 channels; got shape "
        "(1000, 2).".replace("1000", str(len(load_data("moons", {}).test))),
        "Detectors are left out: the study names no strangers, in [data] or in its suite.",
    )
    assert ready_suite(parse(STUDY, source="x.toml"), load_data("digits", {})) is None


def test_what_is_not_asked_for_has_no_cell():
    def kinds(text):
        study = suite(text, data='ood = "photo_patches"')
        graph = build_graph(study, Fingerprints(task="t", ood="o", images=True))
        return [set(trio.suite) for trio in graph.networks.values()]

    every = {"shifted", "strangers", "attacked", "aligned"}
    assert kinds("") == [every] * 6
    assert kinds("radii = []\ncorruptions = []\nnoises = []") == [every - {"attacked"}] * 6
    study = suite()
    plain = build_graph(study, Fingerprints(task="t", ood="", images=False)).networks
    assert [set(trio.suite) for trio in plain.values()] == [{"aligned"}] * 6
    alone = study.model_copy(update={"seeds": [0]})
    dense, pruned = build_graph(alone, Fingerprints(task="t", ood="", images=False)).networks.values()
    assert (set(dense.suite), set(pruned.suite)) == (set(), {"aligned"}), "one seed has no yardstick"


def test_strangers_among_the_examples_are_refused_before_work():
    study = suite(f'ood = ["{__name__}:digits_again"]\nexamples = 40')
    with pytest.raises(BadInput, match="OOD examples are none of the task's"):
        ready_suite(study, load_data("digits", {}))


def digits_again() -> Data:
    """The same images under another name."""
    digits = load_data("digits", {})
    return Data(name="again", classes=digits.classes, splits=digits.splits, about="digits")
