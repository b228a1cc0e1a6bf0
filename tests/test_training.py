import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from prudent.batches import Batches
from prudent.errors import BadInput, SplitMisuse
from prudent.network import fingerprint
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.training import train
from tests.conftest import assert_untouched, batches, chain, images, snapshot


def test_learns_and_leaves_the_input_alone():
    model = chain(norm=True)
    model[3].eval()
    before = snapshot(model)
    epochs = []
    trained = train(model, batches(120), epochs=6, lr=0.01, on_epoch=epochs.append)
    assert_untouched(model, before)
    assert [m.training for m in trained.modules()] == before["modes"]
    assert all(p.grad is None for p in trained.parameters())
    assert [e.index for e in epochs] == list(range(6))
    assert epochs[-1].loss < 0.5 * epochs[0].loss
    answers = predict(trained, batches(200, seed=9, split="test"))
    assert (answers.decisions != answers.labels).mean() < 0.1


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_removed_weights_stay_exactly_zero(optimizer, granularity, schedule):
    # the dense network has been trained on, so there is momentum that would revive them
    pruned = prune(chain(norm=True), sparsity=0.6, granularity=granularity, scope="layer")
    trained = train(
        pruned.model, batches(), epochs=3, lr=0.05, mask=pruned.mask, optimizer=optimizer, weight_decay=0.01,
        schedule=schedule,
    )  # fmt: skip
    for name, kept in pruned.mask.kept.items():
        weight = trained.get_parameter(name)
        assert (weight[~kept] == 0).all()
        assert (weight[kept] != 0).all()
        assert not torch.equal(weight, pruned.model.get_parameter(name))
    if granularity == "channel":
        gone = ~pruned.mask.kept["3.weight"]
        for name in ("3.bias", "4.weight", "4.bias"):
            assert (trained.get_parameter(name)[gone] == 0).all()


def test_without_a_mask_zeros_come_back():
    pruned = prune(chain(), sparsity=0.6)
    trained = train(pruned.model, batches(), epochs=1, lr=0.05)
    assert any((trained.get_parameter(n)[~k] != 0).any() for n, k in pruned.mask.kept.items())


def test_the_mask_is_enforced_from_the_start():
    model = chain()
    mask = prune(model, sparsity=0.6).mask
    for epochs in (0, 1):
        trained = train(model, batches(), epochs=epochs, lr=0.01, mask=mask)
        assert all((trained.get_parameter(n)[~k] == 0).all() for n, k in mask.kept.items())


def test_one_step_of_sgd_by_hand():
    model = nn.Sequential(nn.Linear(3, 2))
    x, y = torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    trained = train(model, [(x, y)], epochs=1, lr=0.1, optimizer="sgd", momentum=0.0)
    loss = cross_entropy(model(x), y)
    gradient = torch.autograd.grad(loss, list(model.parameters()))
    for after, before, g in zip(trained.parameters(), model.parameters(), gradient, strict=True):
        torch.testing.assert_close(after, before - 0.1 * g)


def test_several_steps_of_adam_against_a_plain_loop():
    model = chain()
    model[10] = nn.Dropout(0.0)
    data = list(batches(64))
    trained = train(model, data, epochs=2, lr=0.01, weight_decay=0.1)
    import copy

    reference = copy.deepcopy(model)
    method = torch.optim.AdamW(reference.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(2):
        for x, y in data:
            method.zero_grad()
            cross_entropy(reference(x), y).backward()
            method.step()
    for a, b in zip(trained.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_same_seed_same_bits_and_the_seed_matters():
    first, again, other = (train(chain(), batches(), epochs=2, lr=0.01, seed=s) for s in (3, 3, 4))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)


def test_batches_are_shuffled_by_seed_and_epoch_alone():
    def order(seed, epoch):
        return torch.cat([y for _, y in batches().shuffled(seed=seed, epoch=epoch)]).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert sorted(order(0, 0)) == sorted(batches().labels.tolist())


def test_every_example_is_seen_once_an_epoch_with_its_label():
    source = Batches(inputs=torch.arange(23.0)[:, None], labels=torch.arange(23), size=5, split="train")
    seen = [(x[:, 0].long().tolist(), y.tolist()) for x, y in source.shuffled(seed=1, epoch=2)]
    assert [len(x) for x, _ in seen] == [5, 5, 5, 5, 3]
    assert all(x == y for x, y in seen)
    assert sorted(sum((x for x, _ in seen), [])) == list(range(23))
    assert len(source) == 5


def test_a_data_loader_will_do():
    inputs, labels = images(40)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=10, shuffle=True)
    model = chain()
    state = torch.get_rng_state()
    trained = train(model, loader, epochs=1, lr=0.01)
    assert torch.equal(state, torch.get_rng_state()), "a DataLoader draws random numbers; they must not be the caller's"
    assert fingerprint(trained) != fingerprint(chain())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": -1}, BadInput, "0 or more; got -1"),
        ({"lr": 0.0}, BadInput, "positive and finite; got 0.0"),
        ({"lr": float("nan")}, BadInput, "positive"),
        ({"batches": iter([])}, BadInput, "not an iterator"),
        ({"batches": []}, BadInput, "batches are empty"),
        ({"batches": [torch.rand(4, 1, 8, 8)]}, BadInput, "training needs labels"),
        (
            {"batches": [(torch.rand(2, 1, 8, 8), torch.tensor([0, 3]))]},
            BadInput,
            r"0 \.\. 2 for 3 logits; got 0 \.\. 3",
        ),
        ({"batches": batches(split="certification")}, SplitMisuse, "training may use the train split"),
        ({"batches": batches(split="validation")}, SplitMisuse, "train split"),
        ({"mask": prune(nn.Sequential(nn.Linear(2, 2)), sparsity=0.5).mask}, BadInput, "does not fit"),
        ({"lr": 1e30, "epochs": 3}, BadInput, "lower the learning rate"),
    ],
)
def test_refusals(change, error, message):
    model = chain()
    before = snapshot(model)
    with pytest.raises(error, match=message):
        train(**({"model": model, "batches": batches(), "epochs": 1, "lr": 0.01} | change))
    assert_untouched(model, before)


def test_batches_refuse():
    with pytest.raises(BadInput, match="at least one example"):
        Batches(inputs=torch.zeros(0, 2))
    with pytest.raises(BadInput, match="3 inputs need as many labels; got 2"):
        Batches(inputs=torch.zeros(3, 2), labels=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(BadInput, match="size=0"):
        Batches(inputs=torch.zeros(3, 2), size=0)
