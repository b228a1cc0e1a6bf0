"""The numbers of the OOD detectors, against reference vectors, definitions as loops, autograd and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn import functional as F

from prudent.errors import BadInput, SplitMisuse, UnknownName
from prudent.ood._features import see
from prudent.ood._moments import moments
from prudent.ood.energy import energy
from prudent.ood.entropy import entropy
from prudent.ood.grad_norm import grad_norm
from prudent.ood.kl_matching import kl_matching
from prudent.ood.knn import BLOCK, knn
from prudent.ood.mahalanobis import mahalanobis
from prudent.ood.max_logit import max_logit
from prudent.ood.max_probability import max_probability
from prudent.ood.odin import odin
from prudent.ood.react import react
from prudent.ood.relative_mahalanobis import relative_mahalanobis
from prudent.ood.vim import _outside, vim
from tests.conftest import assert_untouched, batches, chain, images, snapshot


def double(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def head(weight, bias=None) -> nn.Linear:
    """A network that is one linear layer: its inputs are its features."""
    layer = nn.Linear(len(weight[0]), len(weight), dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(double(weight))
        layer.bias.copy_(double([0.0] * len(weight) if bias is None else bias))
    return layer


def known(n: int = 200, d: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Features of classes with means and a covariance of their own."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    mix = rng.normal(size=(d, d))
    features = 3 * rng.normal(size=(classes, d))[labels] + rng.normal(size=(n, d)) @ mix + 2
    return torch.from_numpy(features), torch.from_numpy(labels)


def random_head(classes: int = 4, d: int = 6) -> nn.Linear:
    rng = np.random.default_rng(1)
    return head(rng.normal(size=(classes, d)).tolist(), rng.normal(size=classes).tolist())


def test_scores_of_logits_against_the_reference_vector(oracle):
    v = oracle("ood_logit_scores")
    logits, expected = double(v["inputs"]["logits"]), v["expected"]
    model = nn.Identity()
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(max_logit(model)(logits), expected["maxlogit"], **close)
    np.testing.assert_allclose(energy(model)(logits), expected["energy_T1"], **close)
    np.testing.assert_allclose(energy(model, temperature=2.0)(logits), expected["energy_T2"], **close)
    np.testing.assert_allclose(entropy(model)(logits), expected["entropy"], **close)
    # -ln(p / (1 - p)) back to -p
    np.testing.assert_allclose(-1 / (1 + np.exp(max_probability(model)(logits))), expected["msp"], **close)


def test_the_surest_examples_do_not_tie():
    scores = max_probability(nn.Identity())(double([[80.0, 0.0], [90.0, 0.0], [90.0, 20.0]]))
    np.testing.assert_allclose(scores, [-80, -90, -70], rtol=1e-12)
    assert (entropy(nn.Identity())(double([[80.0, 0.0]])) > 0).all()


def test_distances_against_the_reference_vector(oracle):
    v = oracle("ood_feature_scores")
    features, queries = double(v["inputs"]["features"]), double(v["inputs"]["queries"])
    labels, model = torch.tensor(v["inputs"]["labels"]), head([[1.0, 0.0], [0.0, 1.0]])
    data = [(features[:5], labels[:5]), (features[5:], labels[5:])]
    found = {
        "mahalanobis": mahalanobis(model, data),
        "relative_mahalanobis": relative_mahalanobis(model, data),
        "knn_k5": knn(model, [features[1:]], k=v["inputs"]["k"]),
    }
    for name, score in found.items():
        np.testing.assert_allclose(score(queries), v["expected"][name], atol=1e-9)


def test_vim_against_the_reference_vector(oracle):
    v = oracle("ood_vim")
    i, expected = v["inputs"], v["expected"]
    score = vim(head(i["W"], i["b"]), [double(i["train"])], dimension=i["principal_dim"])
    queries = double(i["queries"])
    np.testing.assert_allclose(score(queries), expected["score"], atol=1e-9)
    # the probability of the virtual class is the logistic function of the score
    np.testing.assert_allclose(1 / (1 + np.exp(-score(queries))), expected["virtual_class_prob"], atol=1e-9)


def test_react_against_the_reference_vector(oracle):
    v = oracle("ood_react")
    i = v["inputs"]
    score = react(head(i["W"], i["b"]), clip=i["clip"])
    np.testing.assert_allclose(score(double(i["penultimate"])), v["expected"]["energy"], atol=1e-9)


@pytest.mark.parametrize("size", [7, 50, 200])
def test_mahalanobis_by_its_definition(size):
    features, labels = known()
    data = list(zip(features.split(size), labels.split(size), strict=True))
    queries = np.random.default_rng(2).normal(size=(9, 6)) * 4
    h, y = features.numpy(), labels.numpy()
    within = np.mean(
        [np.outer(x - h[y == c].mean(0), x - h[y == c].mean(0)) for x, c in zip(h, y, strict=True)], axis=0
    )
    nearest = [
        min((q - h[y == c].mean(0)) @ np.linalg.inv(within) @ (q - h[y == c].mean(0)) for c in range(4))
        for q in queries
    ]
    np.testing.assert_allclose(mahalanobis(random_head(), data)(torch.from_numpy(queries)), nearest, rtol=1e-9)
    background = EmpiricalCovariance().fit(h).mahalanobis(queries)  # scikit-learn: of all, divided by N
    np.testing.assert_allclose(
        relative_mahalanobis(random_head(), data)(torch.from_numpy(queries)), nearest - background, rtol=1e-9, atol=1e-9
    )


def test_the_mean_distance_of_the_fitted_examples_from_their_own_class_is_the_rank():
    features, _ = known()
    labels = torch.zeros(len(features), dtype=torch.int64)  # one class: the nearest is their own
    assert mahalanobis(random_head(), [(features, labels)])(features).mean() == pytest.approx(6, rel=1e-9)


def test_classes_without_examples_are_left_out():
    features, labels = known(classes=2)
    wide = mahalanobis(random_head(classes=4), [(features, labels)])
    narrow = mahalanobis(random_head(classes=2), [(features, labels)])
    np.testing.assert_allclose(wide(features), narrow(features), rtol=1e-9)


def test_dead_units_are_said_and_change_nothing():
    features, labels = known()
    dead = torch.cat([features, torch.zeros(200, 2), torch.full((200, 1), 3.7)], dim=1).double()
    with pytest.warns(UserWarning, match="'mahalanobis': the covariance of 9 features has rank 6 .* pseudo-inverse"):
        score = mahalanobis(random_head(d=9), [(dead, labels)])
    np.testing.assert_allclose(
        score(dead), mahalanobis(random_head(), [(features, labels)])(features), rtol=1e-7, atol=1e-7
    )
    stirred = dead.clone()
    stirred[:, 6] += 5
    np.testing.assert_allclose(score(stirred), score(dead), atol=1e-9)
    counted = mahalanobis(random_head(d=9), [(dead, labels)], shrinkage=0.01)
    assert (counted(stirred) > counted(dead) + 1).all()


def test_shrinkage_by_its_definition():
    features, labels = known()
    queries, s = features[:5] + 1, 0.3
    h, y = features.numpy(), labels.numpy()
    centred = h - np.stack([h[y == c].mean(0) for c in range(4)])[y]
    covariance = centred.T @ centred / len(h)
    inverse = np.linalg.inv((1 - s) * covariance + s * np.trace(covariance) / 6 * np.eye(6))
    gaps = queries.numpy()[:, None] - np.stack([h[y == c].mean(0) for c in range(4)])
    expected = np.einsum("nci,ij,ncj->nc", gaps, inverse, gaps).min(1)
    np.testing.assert_allclose(mahalanobis(random_head(), [(features, labels)], shrinkage=s)(queries), expected)


def test_features_far_from_zero_lose_no_digits():
    features, labels = known()
    near = mahalanobis(random_head(), [(features, labels)])(features)
    far = mahalanobis(random_head(), [(features + 1e4, labels)])(features + 1e4)
    np.testing.assert_allclose(far, near, rtol=1e-6)


def test_knn_agrees_with_scikit_learn_over_many_blocks():
    rng = np.random.default_rng(3)
    bank, queries = rng.normal(size=(2 * BLOCK + 100, 3)), rng.normal(size=(20, 3))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, queries)]
    for k in (1, 50):
        expected = NearestNeighbors(n_neighbors=k).fit(unit[0]).kneighbors(unit[1])[0][:, -1]
        score = knn(random_head(d=3), torch.from_numpy(bank).split(1000), k=k)
        np.testing.assert_allclose(score(torch.from_numpy(queries)), expected, atol=1e-7)


def test_knn_of_a_network_that_says_nothing():
    features, _ = known()
    score = knn(random_head(), [features], k=3)
    np.testing.assert_allclose(score(torch.zeros(2, 6, dtype=torch.float64)), 1.0)


def test_knn_keeps_a_share_that_does_not_depend_on_the_batches():
    features, _ = known(1000)
    scores = [knn(random_head(), features.split(size), k=1, share=0.3, seed=4)(features) for size in (1000, 33)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-7)
    # a known example that is kept is its own nearest neighbour
    assert np.mean(scores[0] < 1e-6) == pytest.approx(0.3, abs=0.05)
    other = knn(random_head(), [features], k=1, share=0.3, seed=5)(features)
    assert (np.abs(other - scores[0]) > 1e-3).any()
    with pytest.raises(BadInput, match="at least k=400 known examples; it kept 3"):
        knn(random_head(), [features], k=400, share=0.3)


def test_react_finds_its_clip_in_the_pool_of_all_units_that_live():
    features, _ = known()
    weight, queries = random_head(), features[:7] * 1.5
    clip = np.percentile(features.numpy(), 85)
    expected = [
        -np.log(np.exp(np.minimum(q, clip) @ weight.weight.detach().numpy().T + weight.bias.detach().numpy()).sum())
        for q in queries.numpy()
    ]
    np.testing.assert_allclose(react(weight, features.split(30), percentile=85.0)(queries), expected)
    # the same network with two units that say nothing
    padded = torch.cat([features, torch.zeros(200, 2)], 1).double()
    wide = head(F.pad(weight.weight.detach(), (0, 2)).tolist(), weight.bias.tolist())
    np.testing.assert_allclose(react(wide, [padded], percentile=85.0)(padded[:7] * 1.5), expected)
    with pytest.raises(BadInput, match="all dead"):
        react(wide, [torch.zeros_like(padded)])


def test_vim_by_its_definition_with_the_rules_dimension():
    features, _ = known()
    model = random_head()
    w, b, h = model.weight.detach().numpy(), model.bias.detach().numpy(), features.numpy()
    x = h + np.linalg.pinv(w) @ b
    values, vectors = np.linalg.eig(x.T @ x)
    null = vectors[:, np.argsort(-values)[4:]]  # 6 features and 4 classes: 4 are principal
    logits = h @ w.T + b
    alpha = logits.max(1).sum() / np.linalg.norm(x @ null, axis=1).sum()
    expected = alpha * np.linalg.norm(x @ null, axis=1) - np.log(np.exp(logits).sum(1))
    np.testing.assert_allclose(vim(model, features.split(64))(features), expected, rtol=1e-9)


def test_vims_dimension_shrinks_with_the_units_that_live():
    features, _ = known()
    padded = torch.cat([features, torch.zeros(200, 6)], 1).double()
    model = random_head()
    unread = torch.cat([model.weight.detach(), torch.randn(4, 6, dtype=torch.float64)], 1)
    wide = head(unread.tolist(), model.bias.tolist())
    np.testing.assert_allclose(vim(wide, [padded])(padded), vim(model, [features])(features), rtol=1e-9)
    with pytest.raises(BadInput, match="use 6 of 12 directions, and dimension=6"):
        vim(wide, [padded], dimension=6)


def test_vim_refuses_to_turn_around():
    features, _ = known()
    model = nn.Sequential(random_head(), nn.LogSoftmax(1))
    with pytest.raises(BadInput, match="ends otherwise: name a layer with layer"):
        vim(model, [features])
    np.testing.assert_allclose(vim(model, [features], layer="0")(features), vim(random_head(), [features])(features))
    low = head(random_head().weight.tolist(), [-100.0] * 4)
    with pytest.raises(BadInput, match="maximum logits that are positive on average"):
        vim(low, [features])


def test_kl_matching_by_its_definition():
    rng = np.random.default_rng(5)
    z, queries = rng.normal(size=(60, 5)) * 2, rng.normal(size=(8, 5)) * 3
    z[:, 3] -= 50  # never predicted: no typical answer of that class
    softmax = lambda a: np.exp(a) / np.exp(a).sum(-1, keepdims=True)  # noqa: E731
    typical = [softmax(z)[z.argmax(1) == k].mean(0) for k in (0, 1, 2, 4)]
    expected = [min(sum(p * np.log(p / t)) for t in typical) for p in softmax(queries)]
    score = kl_matching(nn.Identity(), torch.from_numpy(z).split(7))
    np.testing.assert_allclose(score(torch.from_numpy(queries)), expected, rtol=1e-9)
    sure = torch.from_numpy(z) * 1000  # probabilities that underflow
    assert np.isfinite(kl_matching(nn.Identity(), [sure])(torch.from_numpy(queries) * 1000)).all()


def test_grad_norm_is_the_norm_of_the_gradient_by_autograd():
    model, inputs = chain(norm=True).eval(), images(5)[0]
    expected = []
    for x in inputs:
        log_p = F.log_softmax(model(x[None]).double() / 2.0, dim=1)
        divergence = -log_p.mean() - np.log(3)  # KL(uniform || p), nats
        (gradient,) = torch.autograd.grad(divergence, model[-1].weight)
        expected.append(-float(gradient.abs().sum()))
    np.testing.assert_allclose(grad_norm(model, temperature=2.0)(inputs), expected, rtol=1e-5)


def test_odin_by_its_definition():
    model, inputs = chain(norm=True).double().eval(), images(6)[0].double()
    expected = []
    for x in inputs:
        leaf = x[None].clone().requires_grad_()
        p = F.softmax(model(leaf) / 10.0, dim=1)
        y = int(p.argmax())
        # the sign of the slope by differences, pixel by pixel
        slope = torch.zeros(64, dtype=torch.float64)
        for i in range(64):
            step = torch.zeros(64, dtype=torch.float64)
            step[i] = 1e-6
            up, down = (F.log_softmax(model(leaf.detach() + s * step.view(1, 1, 8, 8)) / 10, 1)[0, y] for s in (1, -1))
            slope[i] = (up - down) / 2e-6
        slope[slope.abs() < 1e-9] = 0  # behind max-pooling many pixels do not count
        moved = leaf.detach() + 0.01 * slope.sign().view(1, 1, 8, 8)
        q = float(F.softmax(model(moved).detach() / 10, dim=1).max())
        expected.append(-np.log(q / (1 - q)))
    np.testing.assert_allclose(odin(model, temperature=10.0, epsilon=0.01)(inputs), expected, rtol=1e-6)
    plain = odin(model, temperature=1.0, epsilon=0.0)(inputs)
    np.testing.assert_allclose(plain, max_probability(model)(inputs), rtol=1e-12)


def test_odin_works_where_the_caller_wants_no_gradients():
    inputs = images(4)[0]
    model = chain()
    wanted = odin(model)(inputs)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            np.testing.assert_array_equal(odin(model)(inputs * 1), wanted)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    np.testing.assert_array_equal(odin(model)(inputs), wanted)
    with pytest.raises(BadInput, match="floating point inputs; got torch.int64"):
        odin(nn.Sequential(nn.Embedding(5, 3), nn.Flatten()))(torch.ones(2, 1, dtype=torch.int64))


class Ends(nn.Module):
    """A network that ends in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way, self.body, self.fc, self.other = way, nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 3)
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).relu()
        if self.way == "two heads":
            z = self.fc(h)
            self.other(h * 2)
            return z
        if self.way == "functional":
            return F.linear(h, self.fc.weight, self.fc.bias).view(len(x), 3)
        if self.way == "product":
            return h @ self.fc.weight.T + self.fc.bias
        if self.way == "twice":
            return self.fc(h) + self.fc(h * 2)
        return self.fc(h)


@pytest.mark.parametrize("way", ["plain", "two heads", "functional"])
def test_the_last_linear_layer_is_found(way):
    model, x = Ends(way).eval(), torch.randn(4, 6)
    with torch.no_grad():
        seen = see(model, x, detector="knn", layer=None, head=True)
        assert torch.equal(seen.features, model.body(x).relu().double())
        assert torch.equal(seen.logits, model(x).double())
    assert torch.equal(seen.head[0], model.fc.weight.double())
    assert torch.equal(seen.head[1], model.fc.bias.double())


@pytest.mark.parametrize("way", ["product", "twice"])
def test_a_network_that_ends_otherwise_is_told_to_name_a_layer(way):
    model, x = Ends(way).eval(), torch.randn(30, 6)
    with pytest.raises(BadInput, match="logits are the answer of a linear layer.*Ends ends otherwise.*layer="):
        knn(model, [x])
    wanted = nn.functional.normalize(x.double())
    scores = knn(model, [x], k=2, layer="body")(x)
    np.testing.assert_allclose(scores, torch.cdist(wanted, wanted).sort(1).values[:, 1], atol=1e-6)


def test_layers_that_cannot_be_meant_are_refused():
    model, x = Ends("twice"), torch.randn(30, 6)
    with pytest.raises(UnknownName, match="no layer named 'boby'. Did you mean 'body'"):
        knn(model, [x], layer="boby")
    with pytest.raises(BadInput, match="'fc' runs 2 times"):
        knn(model, [x], layer="fc")
    with pytest.raises(BadInput, match="'other' runs 0 times"):
        knn(model, [x], layer="other")
    with pytest.raises(BadInput, match="linear layer with 3 outputs.*'body'"):
        react(model, [x], layer="body")
    maps = batches()
    with pytest.raises(BadInput, match="linear layer"):
        vim(chain(), maps, layer="3")
    by_channel = knn(chain(), maps, k=2, layer="3")  # maps are averaged over their positions
    with torch.no_grad():
        channels = nn.functional.normalize(chain()[:3](maps.inputs).mean((2, 3)).double())
    np.testing.assert_allclose(by_channel(maps.inputs), torch.cdist(channels, channels).sort(1).values[:, 1], atol=1e-6)
    with pytest.raises(BadInput, match=r"layer '0' reads \(60, 3, 6\)"):
        knn(nn.Sequential(nn.Linear(6, 2), nn.Flatten()), [torch.randn(60, 3, 6)], layer="0")


def test_options_out_of_range_are_refused():
    model, data = chain(), batches()
    for detector in (energy, odin, react, grad_norm):
        for temperature in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(BadInput, match="finite temperature above 0"):
                detector(model, data, temperature=temperature)
    for refused in (
        lambda: odin(model, epsilon=-1.0),
        lambda: odin(model, epsilon=float("nan")),
        lambda: react(model, data, percentile=0.0),
        lambda: react(model, clip=float("nan")),
        lambda: mahalanobis(model, data, shrinkage=1.5),
        lambda: relative_mahalanobis(model, data, shrinkage=float("nan")),
        lambda: knn(model, data, k=0),
        lambda: knn(model, data, share=0.0),
        lambda: vim(model, data, dimension=-1),
    ):
        with pytest.raises(BadInput, match="needs"):
            refused()


@pytest.mark.parametrize("split", ["certification", "test", "ood"])
def test_nothing_is_learned_from_examples_that_are_for_reporting(split):
    with pytest.raises(SplitMisuse, match="fitting an OOD detector may use the train or validation split"):
        knn(chain(), batches(split=split))


def test_labels_are_looked_at():
    inputs, labels = images(20)
    for wrong, said in (
        (labels.float(), "one integer label"),
        (labels[:5], "one integer label"),
        (labels - 1, "labels >= 0; got -1"),
        (labels + 1, r"labels in 0 .. 2, the network's classes; got 3"),
    ):
        with pytest.raises(BadInput, match=said):
            mahalanobis(chain(), [(inputs, wrong)])
    with pytest.raises(BadInput, match="needs labels"):
        mahalanobis(chain(), [[inputs]])  # what a DataLoader makes of a data set without labels


def test_a_detector_does_not_outlive_its_network():
    data = batches()
    for change in (
        lambda m: m.load_state_dict(chain().state_dict()),
        lambda m: m[8].bias.requires_grad_(False).add_(1),
        lambda m: torch.nn.utils.prune.l1_unstructured(m[8], "weight", 0.5),
    ):
        model = chain()
        score, free = knn(model, data), energy(model)
        score(data.inputs)
        change(model)
        with pytest.raises(BadInput, match="'knn' was fitted to other weights.*fit it again"):
            score(data.inputs)
        free(data.inputs)  # nothing was learned, so nothing is old


def test_features_that_do_not_differ_are_refused():
    model = chain()
    with torch.no_grad():
        model[8].weight.zero_()
    with pytest.raises(BadInput, match="features that differ between examples"):
        mahalanobis(model, batches())


@pytest.mark.parametrize(
    ("d", "classes", "expected"), [(2048, 3, 1000), (768, 3, 512), (767, 3, 383), (6, 2, 3), (3, 5, 2)]
)
def test_vims_dimension_by_rule(d, classes, expected):
    # as many directions as features, each used: outside are all but the principal ones
    assert _outside(torch.eye(d, dtype=torch.float64), None, classes=classes).shape == (d, d - expected)


def test_the_size_of_features_is_their_root_mean_square():
    features, labels = known()
    found = moments(
        random_head(), [(features[:60], labels[:60]), (features[60:], labels[60:])], detector="x", layer=None
    )
    assert found.size == pytest.approx(float(features.square().mean(0).max().sqrt()), rel=1e-12)


def test_a_layer_that_was_named_keeps_no_hook():
    model = chain()
    before = snapshot(model)
    knn(model, batches(), k=2, layer="3")(images(3)[0])
    assert_untouched(model, before)
