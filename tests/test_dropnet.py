"""DropNet replayed by hand: what is trained, what is dropped, when it ends."""

import inspect
import itertools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prudent.comparison import overlap
from prudent.dropnet import dropnet, sizes, to_drop
from prudent.errors import BadInput, CannotPrune, SplitMisuse, UnknownName
from prudent.masks import Mask
from prudent.network import fingerprint, macs, macs_by_layer, parameters
from prudent.prediction import predict
from prudent.surgery.cutting import plan_of
from prudent.surgery.plans import apply_plan
from prudent.training import best_epoch, train
from tests.conftest import assert_untouched, batches, chain, images, normalised, snapshot

RECIPE = {"epochs": 8, "patience": 2, "lr": 0.02, "optimizer": "adam"}
LOOK = {"0.weight": 2, "3.weight": 6, "8.weight": 10}  # modules up to the layer's activation in chain()


def train_data():
    return batches(60)


def held_out():
    return batches(40, split="validation", seed=5)


def run(model=None, **options):
    return dropnet(chain() if model is None else model, train_data(), held_out(), **(RECIPE | {"kappa": 0.0} | options))


def alive(mask):
    return {(name, c) for name, kept in mask.kept.items() for c, stays in enumerate(kept.tolist()) if stays}


def by_hand(level, metric, scope, fraction):
    """The units that the next level keeps, by loops over layers, examples and positions."""
    value = {}
    for name, upto in LOOK.items():
        with torch.no_grad():
            a = level.model.eval()[:upto](train_data().inputs)
        for c in range(a.shape[1]):
            seen = [abs(v) for example in a for v in example[c].flatten().tolist()]
            value[name, c] = sum(seen) / len(seen)
    left = alive(level.mask)
    gone = set()
    for group in [None] if scope == "global" else LOOK:
        units = [u for u in value if u in left and group in (None, u[0])]  # in order, for equal ones
        units.sort(key=lambda u: -value[u] if metric == "maximum" else value[u])
        gone |= set(units[: to_drop(fraction, len(units))])
    return left - gone


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("metric", ["minimum", "maximum"])
@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_drops_by_hand(metric, scope, fraction):
    levels = run(metric=metric, scope=scope, fraction=fraction, levels=4)
    assert alive(levels[0].mask) == {(n, c) for n, k in levels[0].mask.kept.items() for c in range(len(k))}
    assert len(levels) == 4 or levels[-1].mask.collapsed
    for level, smaller in itertools.pairwise(levels):
        assert alive(smaller.mask) == by_hand(level, metric, scope, fraction)
        assert alive(smaller.mask) < alive(level.mask)
    assert [level.index for level in levels] == list(range(len(levels)))


@pytest.mark.parametrize(
    ("fraction", "left", "dropped"),
    [(0.2, 20, 4), (0.2, 16, 3), (0.2, 13, 3), (0.5, 5, 3), (0.2, 2, 1), (0.2, 1, 0), (0.9, 4, 3), (0.1, 3, 1)],
)
def test_how_many_go(fraction, left, dropped):
    assert to_drop(fraction, left) == dropped


def test_each_level_is_trained_from_the_initial_weights_with_the_best_epoch_kept():
    model = chain(norm=True)
    levels = run(model, levels=3, epochs=30, seed=7)
    stopped_early = False
    for level in levels:
        history = []
        again = train(
            model, train_data(), epochs=30, lr=0.02, mask=level.mask, seed=7, validation=held_out(), patience=2,
            on_epoch=history.append,
        )  # fmt: skip
        assert fingerprint(level.model) == fingerprint(again)
        assert (level.best_epoch, level.epochs) == (best_epoch(history).index, len(history))
        assert level.validation_loss == pytest.approx(best_epoch(history).validation_loss, rel=1e-12)
        assert level.validation_error == best_epoch(history).validation_error
        assert level.seconds > 0
        stopped_early |= level.best_epoch < level.epochs - 1
    assert stopped_early, "the test needs a level whose last epoch is not its best"


def test_errors_are_of_the_kept_network_in_evaluation_mode():
    for level in run(levels=2):
        for data, error in ((train_data(), level.train_error), (held_out(), level.validation_error)):
            answers = predict(level.model, data)
            assert error == (answers.decisions != answers.labels).mean()


def test_masks_are_nested_and_what_is_gone_stays_zero():
    levels = run(chain(norm=True), metric="random", scope="layer", levels=5)
    for level, smaller in itertools.pairwise(levels):
        assert overlap(smaller.mask, level.mask) == 1
    for level in levels:
        for name, kept in level.mask.kept.items():
            assert (level.model.get_parameter(name)[~kept] == 0).all()


def test_kappa_ends_the_loop_at_the_first_level_below():
    everything = run(metric="maximum", fraction=0.3, levels=7)
    dense = 1 - everything[0].validation_error
    assert dense > 0.8, "the task is easy, so that there is something to lose"
    shares = [(1 - level.validation_error) / dense for level in everything]
    first = next(share for share in shares if share < 1)
    for kappa in (first - 1e-9, first + 1e-9, 1.0):
        held = next((i for i, share in enumerate(shares) if share < kappa), len(shares))
        levels = run(metric="maximum", fraction=0.3, levels=7, kappa=kappa)
        assert [level.holds for level in levels] == ([True] * held + [False])[: len(everything)]
        assert [fingerprint(x.model) for x in levels] == [fingerprint(x.model) for x in everything[: held + 1]]


def test_kappa_0_goes_on_to_the_last_level():
    assert len(run(metric="random", levels=3)) == 3
    assert len(run(levels=1)) == 1
    assert all(level.holds for level in run(metric="random", levels=3))


def test_ends_when_every_layer_is_down_to_one_channel():
    levels = run(scope="layer", fraction=0.9, levels=12, epochs=1)
    assert [int(k.sum()) for k in levels[-1].mask.kept.values()] == [1, 1, 1]
    assert len(levels) < 12


def test_ends_when_a_layer_is_gone():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 3))
    with torch.no_grad():
        model[3].weight.fill_(-1.0)  # these two answer nothing, and get no gradient to change that
        model[3].bias.fill_(-1.0)
    levels = run(model, levels=12)
    assert levels[-1].mask.collapsed == ("3.weight",)
    assert not any(level.mask.collapsed for level in levels[:-1])
    assert len(levels) == 2
    # a constant: parameters of layers that nothing passes through are counted, the arithmetic of the missing one is not
    kept = int(levels[-1].mask.kept["1.weight"].sum())
    assert levels[-1].parameters == kept * 65 + 3
    assert levels[-1].macs == kept * 64


@pytest.mark.parametrize("make", [chain, lambda: chain(norm=True), normalised])
def test_sizes_are_those_of_the_cut_network(make):
    model = make()
    work = macs_by_layer(model, torch.zeros(1, 1, 8, 8))
    generator = torch.Generator().manual_seed(0)
    everything = run(model, levels=1)[0].mask
    for share in (0.0, 0.3, 0.6):
        kept = {n: torch.rand(len(k), generator=generator) >= share for n, k in everything.kept.items()}
        kept = {n: k if k.any() else torch.ones_like(k) for n, k in kept.items()}
        mask = Mask(kept=kept, granularity="channel")
        small = apply_plan(model, plan_of(model, mask))
        assert sizes(model, mask, work) == (parameters(small), macs(small, torch.zeros(1, 1, 8, 8)))


def test_random_drops_any_channel_alike():
    # wide and narrow layers with few and many weights a channel: each channel has the same chance
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 3))
    gone = {"1.weight": 0, "3.weight": 0}
    for seed in range(60):
        level = run(model, metric="random", levels=2, epochs=1, fraction=0.5, seed=seed)[1]
        for name, removed in level.mask.removed_by_layer.items():
            gone[name] += removed
    # 600 channels of the narrow layer, half of which go on average; the standard deviation is 11
    assert abs(gone["1.weight"] - 300) < 45
    assert gone["1.weight"] + gone["3.weight"] == 60 * 20


def test_seeds():
    first, again, other = (run(metric="random", levels=2, seed=s) for s in (1, 1, 2))
    assert [fingerprint(x.model) for x in first] == [fingerprint(x.model) for x in again]
    assert alive(first[1].mask) != alive(other[1].mask)


def test_leaves_the_model_and_the_random_numbers_alone():
    loaders = [
        DataLoader(TensorDataset(*images(40, seed=seed)), batch_size=10, shuffle=True) for seed in (0, 5)
    ]  # as people have them
    model = chain(norm=True)
    before = snapshot(model)
    seen = []
    levels = dropnet(model, *loaders, levels=2, on_level=seen.append, kappa=0.0, **RECIPE)
    assert_untouched(model, before)
    assert seen == list(levels)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric": "min"}, UnknownName, "no metric named 'min'"),
        ({"scope": "all"}, UnknownName, "no scope named 'all'"),
        ({"scope": "row"}, UnknownName, "no scope named 'row'.*Known: global, layer"),
        ({"fraction": 0.0}, BadInput, r"in \(0, 1\); got 0.0"),
        ({"fraction": 1.0}, BadInput, r"in \(0, 1\); got 1.0"),
        ({"kappa": 1.5}, BadInput, r"in \[0, 1\]; got 1.5"),
        ({"levels": 0}, BadInput, "1 or more; got levels=0"),
        ({"epochs": 0}, BadInput, "1 or more; got levels=12, epochs=0"),
        ({"patience": 0}, BadInput, "1 or more; got 0"),
        ({"train_batches": batches(split="validation")}, SplitMisuse, "training may use the train split"),
        ({"validation_batches": batches(split="test")}, SplitMisuse, "may use the validation split"),
        ({"train_batches": iter([])}, BadInput, "not an iterator"),
        ({"train_batches": []}, BadInput, "nothing to train on"),
        ({"model": nn.Sequential(nn.Linear(2, 2))}, CannotPrune, "fewer than two"),
        ({"train_batches": [(torch.zeros(2, 5), torch.tensor([0, 1]))]}, BadInput, "does not run on an input"),
    ],
)
def test_refusals(change, error, message):
    given = {"model": chain(), "train_batches": train_data(), "validation_batches": held_out()} | change
    # unwrapped: in the tests a type checker stands before every function and would be the one to refuse
    with pytest.raises(error, match=message):
        inspect.unwrap(dropnet)(**given)


# ------------------------------------------------------------------------------------------------- traced networks


class Summed(nn.Module):
    """A stem and a residual block: the stem's channels and those of the second layer go together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 5, 1), nn.Conv2d(5, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


class Grouped(nn.Module):
    """A grouped convolution: each of two groups of channels keeps as many as the other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 4, 1, groups=2), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.relu(self.b(torch.relu(self.a(x)))).mean((2, 3)))


def summed():
    torch.manual_seed(0)
    return Summed()


def read_by(model, x):
    """What each channel's readers get, mean by mean: the stem's sum is read by `first` and by `head`."""
    with torch.no_grad():
        stem = torch.relu(model.stem(x))
        inner = torch.relu(model.first(stem))
        end = torch.relu(stem + model.second(inner)).mean((2, 3))
    means = (stem.abs().mean((0, 2, 3)) + end.abs().mean(0)) / 2, inner.abs().mean((0, 2, 3))
    return {(name, c): float(v) for name, m in zip(("stem.weight", "first.weight"), means, strict=True)
            for c, v in enumerate(m)}  # fmt: skip


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("metric", ["minimum", "maximum"])
def test_a_residual_network_drops_what_its_readers_hear_least(metric, scope):
    levels = run(summed(), metric=metric, scope=scope, fraction=0.4, levels=4)
    assert len(levels) == 4
    for level, smaller in itertools.pairwise(levels):
        value, left = read_by(level.model.eval(), train_data().inputs), alive(level.mask)
        gone = set()
        for group in [None] if scope == "global" else ["stem.weight", "first.weight"]:
            units = sorted(
                (u for u in value if u in left and group in (None, u[0])),
                key=lambda u: -value[u] if metric == "maximum" else value[u],
            )
            safe = {next(u for u in reversed(units) if u[0] == name) for name in {u[0] for u in units}}
            units = [u for u in units if u not in safe]  # of each layer the best stays
            wanted = to_drop(0.4, len(units) + len(safe))
            gone |= set(units[:wanted])
        assert alive(smaller.mask) == left - gone
        for name, c in gone:
            for parameter in ("stem.weight", "stem.bias", "second.weight") if name == "stem.weight" else (name,):
                assert not smaller.model.get_parameter(parameter)[c].any()


def test_sizes_of_a_residual_network_are_counted_by_hand_and_every_layer_keeps_a_channel():
    levels = run(summed(), fraction=0.6, levels=9, epochs=1)
    for level in levels:
        stream, inner = (int(level.mask.kept[f"{name}.weight"].sum()) for name in ("stem", "first"))
        assert level.parameters == 10 * stream + (stream + 1) * inner + (inner + 1) * stream + 3 * (stream + 1)
        assert level.macs == 36 * (9 * stream + 2 * stream * inner) + 3 * stream
    assert levels[-1].mask.remaining == 2
    quiet = summed()
    with torch.no_grad():
        quiet.first.weight.mul_(1e-3)
        quiet.first.bias.zero_()
    for level in run(quiet, fraction=0.6, levels=3, epochs=1):
        assert not level.mask.collapsed


def test_groups_lose_equally_many_down_to_one():
    torch.manual_seed(0)
    for scope, fraction in (("global", 0.3), ("global", 0.1), ("layer", 0.3)):
        levels = run(Grouped(), scope=scope, fraction=fraction, levels=9, epochs=1, metric="random")
        for level in levels:
            for kept in level.mask.kept.values():
                assert len({int(row) for row in kept.sum(1)} if kept.ndim == 2 else {0}) == 1
        assert levels[-1].mask.remaining == sum(len(k) if k.ndim == 2 else 1 for k in levels[-1].mask.kept.values())


def test_leaves_a_traced_network_alone_and_repeats():
    model = summed()
    before = snapshot(model)
    first, again = (run(model, levels=3, epochs=2) for _ in range(2))
    assert_untouched(model, before)
    assert [fingerprint(level.model) for level in first] == [fingerprint(level.model) for level in again]
