"""Every OOD detector: direction, repeatability, independence of batches, refusals, and that it leaves no trace."""

import inspect
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import prudent
from prudent.batches import Batches
from prudent.detection import auroc
from prudent.errors import BadInput, SplitMisuse
from prudent.ood import OOD
from tests.conftest import assert_untouched, batches, images, snapshot

NAMES = list(OOD)
LEARNING = [name for name in NAMES if "data" in OOD.constant(name, "NEEDS")]
KINDS = ("dense", "masked", "shrunk", "graph")


def few_rows(names):
    """Detectors among the others whose answers a user gets for the price of one pass."""
    return [name for name in names if not OOD.constant(name, "NEEDS")]


class Views(nn.Module):
    """A network whose code says sizes, so that surgery leaves it as a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3, padding=1)
        self.hidden = nn.Linear(12 * 16, 24)
        self.fc = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.max_pool2d(self.conv(x).relu(), 2)
        return self.fc(self.hidden(h.view(-1, 192)).relu())


@cache
def networks() -> dict[str, nn.Module]:
    """A tiny trained network, the same masked, the same physically smaller, and one that is a graph afterwards."""
    torch.manual_seed(1)
    plain = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(192, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 3),
    )  # fmt: skip
    data = batches(300, seed=3)
    example = data.inputs[:4]
    dense = prudent.train(plain, data, epochs=8, lr=0.05, seed=0)
    pruned = prudent.prune(dense, sparsity=0.4, granularity="channel")
    viewed = prudent.train(Views(), data, epochs=8, lr=0.05, seed=0)
    graph = prudent.shrink(prudent.prune(viewed, sparsity=0.4, granularity="channel", example=example), example)
    assert graph.form == "graph"
    small = prudent.shrink(pruned, example)
    assert small.params < sum(p.numel() for p in dense.parameters())
    return {"dense": dense, "masked": pruned.model, "shrunk": small.model, "graph": graph.model}


def fitted(name, model, data=None, **options):
    """A detector of this name; that pruned networks have dead units is known, and said elsewhere."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pseudo-inverse", category=UserWarning)
        return OOD[name](model, batches(300, seed=3) if data is None else data, **options)


def noise(n: int = 100, *, scale: float = 0.3) -> Tensor:
    """Gaussian noise, as bright as the images."""
    return 0.5 + scale * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_more_ood_than_what_is_known(name, kind):
    score = fitted(name, networks()[kind])
    known, far = score(batches(300, seed=3).inputs), score(noise())
    for scores, n in ((known, 300), (far, 100)):
        assert scores.dtype == np.float64
        assert scores.shape == (n,)
        assert np.isfinite(scores).all()
    assert len(np.unique(known)) > 150, "scores that tie tell nothing apart"
    assert auroc(known, far) > 0.85


@pytest.mark.parametrize("name", ["knn", "mahalanobis", "relative_mahalanobis", "vim"])
@pytest.mark.parametrize("kind", KINDS)
def test_distances_also_see_what_is_very_far(name, kind):
    # not the others: a network of ReLU is sure of almost everything that is far enough (Hein et al. 2019,
    # arXiv:1812.05720), which is a property of the network and not of its detectors
    score = fitted(name, networks()[kind])
    assert auroc(score(batches(300, seed=3).inputs), score(noise(scale=10.0))) > 0.9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["dense", "graph"])
def test_same_twice(name, kind):
    model = networks()[kind]
    first, second = (fitted(name, model)(noise(20)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["shrunk", "graph"])
def test_batches_do_not_matter(name, kind):
    # in float64: what is left is rounding, and no example is read differently because of its neighbours
    model = prudent.copying.duplicate(networks()[kind]).double()
    inputs, labels = images(150, seed=3)
    whole = Batches(inputs=inputs.double(), labels=labels, size=150)
    parts = Batches(inputs=inputs.double(), labels=labels, size=40)
    queries = torch.cat([noise(4), images(4, seed=5)[0]]).double()
    expected = fitted(name, model, whole)(queries)
    scores = fitted(name, model, parts)
    np.testing.assert_allclose(scores(queries), expected, rtol=1e-6, atol=1e-6)
    single = np.concatenate([scores(query[None]) for query in queries])
    np.testing.assert_allclose(single, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_many_inputs_are_scored_in_parts(name, monkeypatch):
    score, inputs = fitted(name, networks()["dense"]), noise(50)
    expected = score(inputs)
    monkeypatch.setattr("prudent.ood._answers.ROWS", 8)
    np.testing.assert_allclose(score(inputs), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fitted(name, networks()["dense"])(inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_and_the_smaller_network_that_computes_the_same_score_alike(name):
    masked, small = (networks()[kind] for kind in ("masked", "shrunk"))
    expected, scores = (fitted(name, model)(batches(40, seed=5).inputs) for model in (masked, small))
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_leaves_the_network_as_it_was(name, training):
    model = prudent.copying.duplicate(networks()["dense"]).train(training)
    model[0].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    inputs = noise(10)
    before, given = snapshot(model), inputs.clone()
    grad_mode = torch.is_grad_enabled()
    score = fitted(name, model)
    assert_untouched(model, before)
    score(inputs)
    assert_untouched(model, before)
    assert torch.equal(inputs, given)
    assert inputs.grad is None
    assert torch.is_grad_enabled() == grad_mode


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_network_as_it_was_when_it_refuses(name):
    model = prudent.copying.duplicate(networks()["dense"]).train()
    before = snapshot(model)
    score = fitted(name, model)
    for wrong in (noise(3)[:, :, :5], noise(3) * float("nan")):
        with pytest.raises(BadInput) as refusal:
            score(wrong)
        assert refusal.value is not None
        assert_untouched(model, before)
        assert torch.is_grad_enabled()
        if name in LEARNING:
            with pytest.raises(BadInput):
                fitted(name, model, [*batches(), (wrong, torch.zeros(3, dtype=torch.int64))])
            assert_untouched(model, before)
            assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_needs_and_refuses_to_go_without(name):
    needs = OOD.constant(name, "NEEDS")
    assert set(needs) <= {"data", "labels", "features", "gradients"}
    parameters = inspect.signature(OOD[name]).parameters
    assert ("layer" in parameters) == ("features" in needs)
    options = [p for p in parameters.values() if p.name not in ("model", "batches")]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in options)
    model = networks()["dense"]
    unlabelled = [inputs for inputs, _ in batches()]
    if "data" in needs:
        with pytest.raises(BadInput, match=f"detector '{name}' needs data: pass batches"):
            OOD[name](model)
        with pytest.raises(BadInput, match=f"detector '{name}' needs data; the batches were empty"):
            OOD[name](model, [])
        with pytest.raises(SplitMisuse, match="train or validation split; these batches are of 'test'"):
            OOD[name](model, batches(split="test"))
    else:
        OOD[name](model)(noise(2))
    if "labels" in needs:
        with pytest.raises(BadInput, match=f"detector '{name}' needs labels"):
            fitted(name, model, unlabelled)
    else:
        fitted(name, model, unlabelled)(noise(2))
    headless = nn.Sequential(nn.Conv2d(1, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if "features" in needs:
        with pytest.raises(BadInput, match=f"detector '{name}' needs a network whose logits.*layer="):
            fitted(name, headless)(noise(2))
    else:
        fitted(name, headless)(noise(2))


@pytest.mark.parametrize("name", NAMES)
def test_refuses_what_cannot_be_scored(name):
    model = networks()["dense"]
    score = fitted(name, model)
    for wrong, said in (
        (noise(3) * float("nan"), "finite inputs; 3 of 3 hold NaN"),
        (noise(3)[:0], r"one or more inputs \(n, ...\); got \(0, 1, 8, 8\)"),
        (torch.tensor(1.0), r"one or more inputs \(n, ...\)"),
        (noise(3)[:, :, :5], "does not run on an input of shape"),
    ):
        with pytest.raises(BadInput, match=said):
            score(wrong)
    broken = prudent.copying.duplicate(model)
    with torch.no_grad():
        broken[7].bias[0] = float("nan")
    with pytest.raises(BadInput, match="finite logits"):
        fitted(name, broken)(noise(2))
    with pytest.raises(BadInput, match="logits of 2 or more classes"):
        fitted(name, nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))(noise(2))


@pytest.mark.parametrize("name", NAMES)
def test_names_its_source(name):
    what, source = OOD.summary(name)
    assert what.endswith(".")
    assert "arXiv" in source


def test_names_are_read_from_the_folder():
    assert len(NAMES) >= 12
    assert few_rows(NAMES) == ["energy", "entropy", "max_logit", "max_probability"]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_in_training_mode_is_scored_as_in_use(name):
    model = prudent.copying.duplicate(networks()["dense"])
    expected = fitted(name, model.eval())(noise(10))
    np.testing.assert_array_equal(fitted(name, model.train())(noise(10)), expected)
