"""Training with validation: the best epoch comes back bit by bit, patience is counted right, nothing else changes."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from prudent.assessment import loss_and_error
from prudent.errors import BadInput, SplitMisuse
from prudent.network import fingerprint
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.training import Epoch, best_epoch, train
from tests.conftest import assert_untouched, batches, chain, images, snapshot

LR = 0.03  # large enough that the validation loss goes up and down


def held_out(n=40, *, seed=5):
    return batches(n, split="validation", seed=seed)


def run(model=None, *, epochs, validation=None, patience=None, lr=LR, **options):
    history = []
    trained = train(
        chain(norm=True) if model is None else model, batches(80), epochs=epochs, lr=lr, validation=validation,
        patience=patience, on_epoch=history.append, **options,
    )  # fmt: skip
    return trained, history


def mislabelled():
    """Validation that gets worse while training gets better, from some epoch on."""
    data = held_out()
    labels = data.labels.clone()
    labels[:16] = (labels[:16] + 1) % 3
    return [(data.inputs, labels)]


def test_looking_changes_nothing_and_the_best_epoch_comes_back_bit_by_bit():
    plain, without = run(epochs=6)
    trained, history = run(epochs=6, validation=mislabelled())
    assert [(e.index, e.loss, e.error) for e in history] == [(e.index, e.loss, e.error) for e in without]
    best = best_epoch(history)
    assert best.index < 5, "the test needs a best epoch that is not the last"
    assert best.validation_loss == min(e.validation_loss for e in history)
    # the network of an epoch is what training for so many epochs gives: dropout and batch norm's statistics included
    alone, _ = run(epochs=best.index + 1)
    assert fingerprint(trained) == fingerprint(alone) != fingerprint(plain)


def test_a_data_loader_for_validation_moves_no_random_number():
    inputs, labels = images(40, seed=5)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=7, shuffle=True)
    model = chain(norm=True)  # which seeds the global generator
    _, without = run(model, epochs=3)
    state = torch.get_rng_state()
    _, history = run(model, epochs=3, validation=loader)
    assert torch.equal(state, torch.get_rng_state())
    assert [e.loss for e in history] == [e.loss for e in without]


def test_without_validation_nothing_is_said_about_it():
    _, history = run(epochs=2)
    assert all(e.validation_loss is None and e.validation_error is None for e in history)
    assert all(e.seconds > 0 for e in history)
    assert history == run(epochs=2)[1], "the seconds differ, but are not compared"
    with pytest.raises(BadInput, match="train with validation"):
        best_epoch(history)
    with pytest.raises(BadInput, match="train with validation"):
        best_epoch([])


def test_validation_numbers_are_those_of_the_finished_epoch():
    seen = {}
    for epochs in (1, 2, 3):
        trained, _ = run(epochs=epochs)
        answers = predict(trained, held_out())
        logits, labels = torch.tensor(answers.logits), torch.tensor(answers.labels)
        loss = sum(float(cross_entropy(logits[i : i + 1], labels[i : i + 1])) for i in range(len(labels))) / len(labels)
        seen[epochs - 1] = loss, float((logits.argmax(1) != labels).double().mean())
    _, history = run(epochs=3, validation=held_out())
    for epoch in history:
        assert epoch.validation_loss == pytest.approx(seen[epoch.index][0], rel=1e-5)
        assert epoch.validation_error == pytest.approx(seen[epoch.index][1], abs=1e-12)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_counts_epochs_without_a_new_lowest_loss(patience):
    _, everything = run(epochs=25, validation=mislabelled())
    losses = [e.validation_loss for e in everything]
    # the rule by hand
    lowest, waited, last = math.inf, 0, 24
    for i, loss in enumerate(losses):
        lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
        if waited == patience:
            last = i
            break
    assert last < 24, "the test needs a run that stops early"
    trained, history = run(epochs=25, validation=mislabelled(), patience=patience)
    assert [e.validation_loss for e in history] == losses[: last + 1]
    assert best_epoch(history).index == last - patience
    assert fingerprint(trained) == fingerprint(run(epochs=last - patience + 1)[0])


def test_of_equal_losses_the_first_epoch_is_kept():
    model = nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    data = [(x.flatten(1), y) for x, y in batches(32)]
    flat = [(x.flatten(1), y) for x, y in held_out()]
    history = []
    # a rate that moves no float32: all epochs are equal
    trained = train(
        model, data, epochs=9, lr=1e-30, optimizer="sgd", validation=flat, patience=2, on_epoch=history.append
    )
    assert len({e.validation_loss for e in history}) == 1
    assert [e.index for e in history] == [0, 1, 2]
    assert best_epoch(history).index == 0
    assert fingerprint(trained) == fingerprint(model)


def test_best_epoch_is_the_first_of_the_lowest():
    history = [Epoch(index=i, loss=1.0, error=0.5, validation_loss=v) for i, v in enumerate([3.0, 1.0, 2.0, 1.0])]
    assert best_epoch(history).index == 1


def test_what_is_removed_stays_zero_in_the_best_epoch():
    pruned = prune(chain(norm=True), sparsity=0.5, granularity="channel")
    trained, history = run(pruned.model, epochs=12, validation=mislabelled(), mask=pruned.mask)
    assert best_epoch(history).index < 11, "else this shows nothing"
    for name, kept in pruned.mask.kept.items():
        assert (trained.get_parameter(name)[~kept] == 0).all()
        assert (trained.get_parameter(name)[kept] != 0).all()


def test_the_kept_weights_are_a_copy_and_not_the_live_ones():
    # were they the live tensors, the last epoch would come back: so the last must not be the best
    trained, history = run(epochs=6, validation=mislabelled())
    assert loss_and_error(trained, mislabelled())[0] == pytest.approx(best_epoch(history).validation_loss, rel=1e-12)
    assert best_epoch(history).validation_loss < history[-1].validation_loss
    assert all(p.grad is None and p.requires_grad for p in trained.parameters())


def test_buffers_that_are_not_saved_come_back_too():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(()), persistent=False)

        def forward(self, x):
            if self.training:
                self.steps += 1
            return x

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Counting(), nn.Linear(8, 3))
    trained, history = run(model, epochs=12, validation=mislabelled())
    best = best_epoch(history)
    assert best.index < 11
    assert trained[2].steps == (best.index + 1) * len(batches(80))


def test_leaves_model_and_modes_alone():
    model = chain(norm=True)
    model[3].eval()
    before = snapshot(model)
    trained, _ = run(model, epochs=2, validation=held_out(), patience=1)
    assert_untouched(model, before)
    assert [m.training for m in trained.modules()] == before["modes"]


def test_loss_and_error_do_not_depend_on_the_size_of_batches():
    model = chain(norm=True)
    before = snapshot(model)
    first, second = loss_and_error(model, batches(50, size=50)), loss_and_error(model, batches(50, size=7))
    assert_untouched(model, before)
    assert first == pytest.approx(second, rel=1e-6)
    inputs, labels = images(50)
    with torch.no_grad():
        logits = model.eval()(inputs)
    assert first[0] == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-5)
    assert first[1] == float((logits.argmax(1) != labels).double().mean())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"validation": batches(split="train")}, SplitMisuse, "may use the validation split; these .* 'train'"),
        ({"validation": batches(split="certification")}, SplitMisuse, "may use the validation split"),
        ({"validation": batches(split="test")}, SplitMisuse, "may use the validation split"),
        ({"validation": iter([])}, BadInput, "not an iterator"),
        ({"validation": []}, BadInput, "validation needs examples with labels"),
        ({"validation": [torch.rand(4, 1, 8, 8)]}, BadInput, "validation needs examples with labels"),
        ({"patience": 3}, BadInput, "pass validation="),
        ({"validation": held_out(), "patience": 0}, BadInput, "1 or more; got 0"),
        ({"validation": [(torch.rand(2, 1, 8, 8), torch.tensor([0, 7]))]}, BadInput, r"got 0 \.\. 7"),
        ({"validation": [(torch.full((2, 1, 8, 8), torch.inf), torch.tensor([0, 1]))]}, BadInput, "validation loss is"),
    ],
)
def test_refusals(change, error, message):
    model = chain()
    before = snapshot(model)
    with pytest.raises(error, match=message):
        train(**({"model": model, "batches": batches(), "epochs": 1, "lr": 0.01} | change))
    assert_untouched(model, before)


@pytest.mark.parametrize("data", [[], [torch.rand(2, 1, 8, 8)]])
def test_a_loss_needs_labelled_examples(data):
    with pytest.raises(BadInput, match="a loss needs"):
        loss_and_error(chain(), data)
