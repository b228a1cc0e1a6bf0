"""Training on corrupted images and wrong labels: what belongs to the example, shares, and that off means off."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from prudent.augmentation import corrupted, epochs_of
from prudent.batches import Batches
from prudent.corrupting import MIX, corrupt
from prudent.errors import BadInput, UnknownName
from prudent.label_noise import relabelled
from prudent.network import fingerprint
from prudent.prediction import predict
from prudent.training import train
from tests.conftest import batches, chain

LABELS = torch.randint(0, 5, (400,), generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def pictures(size=16, n=40):
    return Batches(inputs=IMAGES[:n], labels=LABELS[:n], size=size, split="train")


def epoch(given, **options):
    """What an epoch gave, put back into the order of the examples."""
    made = list(given)
    inputs, labels = (torch.cat([batch[i] for batch in made]) for i in (0, 1))
    order = torch.argsort(pictures(n=len(labels)).order(**options))
    return inputs[order], labels[order]


@pytest.mark.parametrize("names", [("contrast", "shot_noise"), MIX])
def test_what_becomes_of_an_image_does_not_depend_on_its_batch(names):
    first = epoch(corrupted(pictures(16), names, seed=3, epoch=2), seed=3, epoch=2)
    second = epoch(corrupted(pictures(7), names, seed=3, epoch=2), seed=3, epoch=2)
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=2e-6)
    assert torch.equal(first[1], LABELS[:40])
    assert [len(batch[1]) for batch in corrupted(pictures(16), names, seed=3)] == [16, 16, 8]


def test_epochs_and_seeds_draw_anew():
    made = {key: epoch(corrupted(pictures(), ("shot_noise",), seed=key[0], epoch=key[1]), seed=key[0], epoch=key[1])[0]
            for key in ((0, 0), (0, 1), (1, 0))}  # fmt: skip
    clean = {key: (images == IMAGES).flatten(1).all(1) for key, images in made.items()}
    for key, same in clean.items():
        assert 8 <= int(same.sum()) <= 32, "one in two stays clean"
        others = [clean[k] for k in clean if k != key]
        assert all(not torch.equal(same, other) for other in others)


def test_each_image_is_clean_or_one_corruption_at_one_of_the_severities():
    given = torch.rand(600, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    data = Batches(inputs=given, labels=torch.zeros(600, dtype=torch.int64), size=50)
    made = torch.cat([inputs for inputs, _ in corrupted(data, ("contrast", "brightness"), severities=(2, 5))])
    made = made[torch.argsort(data.order(seed=0, epoch=0))]
    settings = [(name, severity) for name in ("contrast", "brightness") for severity in (2, 5)]
    could = torch.stack([given, *(corrupt(given, n, severity=s) for n, s in settings)])  # neither draws numbers
    which = (could - made).abs().amax((2, 3, 4)).argmin(0)
    assert float((could[which, torch.arange(600)] - made).abs().max()) < 1e-6
    counts = torch.bincount(which, minlength=5).double() / 600
    # four standard deviations of a share p of 600: 0.077 for p = 1/3, 0.061 for p = 1/6
    assert abs(counts[0] - 1 / 3) < 0.08
    assert ((counts[1:] - 1 / 6).abs() < 0.062).all()


def test_blocks_do_not_show(monkeypatch):
    whole = epoch(corrupted(pictures(8), MIX, seed=1), seed=1, epoch=0)[0]
    monkeypatch.setattr("prudent.augmentation.AT_ONCE", 8)
    torch.testing.assert_close(epoch(corrupted(pictures(8), MIX, seed=1), seed=1, epoch=0)[0], whole, rtol=0, atol=2e-6)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.9])
def test_exactly_the_share_of_labels_is_wrong(share):
    noisy = relabelled(LABELS, share=share, seed=1)
    assert int((noisy != LABELS).sum()) == round(share * 400)
    assert set(noisy.tolist()) <= set(range(5))
    less = relabelled(LABELS, share=share / 2, seed=1)
    wrong = less != LABELS
    assert torch.equal(noisy[wrong], less[wrong]), "a larger share keeps what a smaller one made wrong"
    if share == 0.9:
        assert not torch.equal(noisy, relabelled(LABELS, share=share, seed=2))


def test_wrong_labels_are_uniform_over_the_other_classes():
    labels = torch.arange(4).repeat(3000)
    noisy = relabelled(labels, share=0.5, seed=4)
    counts = torch.zeros(4, 4).index_put_((labels, noisy), torch.ones(12000), accumulate=True)
    for own in range(4):
        others = torch.tensor([k for k in range(4) if k != own])
        # 1500 of each class on average, a third of them to each other class: deviations of four times 20
        assert ((counts[own, others] - 500).abs() < 85).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.0}, "in \\[0, 1\\); got 1.0"),
        ({"share": -0.1}, "in \\[0, 1\\)"),
        ({"share": float("nan")}, "in \\[0, 1\\)"),
        ({"share": 0.5, "classes": 4}, "classes 0 .. 3, of two classes or more; got 0 to 4"),
        ({"labels": torch.zeros(5, dtype=torch.int64), "share": 0.5}, "two classes or more"),
        ({"labels": torch.tensor([-1, 2]), "share": 0.5}, "got -1 to 2"),
    ],
)
def test_labels_that_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        relabelled(**{"labels": LABELS, **change})


def test_off_is_bit_identical_to_without():
    model, data = chain(), batches()
    plain = train(model, data, epochs=2, lr=0.01)
    off = train(model, data, epochs=2, lr=0.01, corruptions=(), severities=(3,), label_noise=0.0)
    assert fingerprint(plain) == fingerprint(off)
    assert fingerprint(plain) == fingerprint(train(model, data, epochs=2, lr=0.01, label_noise=0.001)), "rounds to none"


def bright(n=60, split="train"):
    given = batches(n, split=split)
    return dataclasses.replace(given, inputs=given.inputs.clamp(0, 1))


def test_training_is_a_plain_loop_over_the_epochs_batches():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    options = {"corruptions": ("contrast", "impulse_noise"), "severities": (1, 4), "label_noise": 0.25}
    ours = train(model, bright(), epochs=2, lr=0.1, optimizer="sgd", momentum=0.0, seed=6, **options)
    data = dataclasses.replace(bright(), labels=relabelled(bright().labels, share=0.25, seed=6))
    weights = [p.detach().clone() for p in model.parameters()]
    for index in range(2):
        for inputs, labels in corrupted(data, ("contrast", "impulse_noise"), severities=(1, 4), seed=6, epoch=index):
            w, b = (p.requires_grad_() for p in weights)
            gradient = torch.autograd.grad(cross_entropy(inputs.flatten(1) @ w.T + b, labels), (w, b))
            weights = [(p - 0.1 * g).detach() for p, g in zip((w, b), gradient, strict=True)]
    for after, expected in zip(ours.parameters(), weights, strict=True):
        torch.testing.assert_close(after.detach(), expected)
    assert fingerprint(ours) == fingerprint(
        train(model, bright(), epochs=2, lr=0.1, optimizer="sgd", momentum=0.0, seed=6, **options)
    )


def test_robust_training_helps_under_the_corruption_that_it_saw():
    test = bright(400, split="test")
    harsh = Batches(inputs=corrupt(test.inputs, "contrast", severity=5), labels=test.labels, split="test")
    errors = {}
    for names in ((), ("contrast",)):
        network = train(chain(), bright(200), epochs=8, lr=0.01, corruptions=names)
        answers = predict(network, harsh)
        errors[names] = float((answers.decisions != answers.labels).mean())
    assert errors["contrast",] < errors[()] - 0.05, errors


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"corruptions": ("contrst",)}, UnknownName, "contrast"),
        ({"corruptions": ("contrast",), "severities": ()}, BadInput, "at least one severity"),
        ({"corruptions": ("contrast",), "severities": (0,)}, BadInput, "got 0"),
        ({"label_noise": 1.0}, BadInput, "in \\[0, 1\\)"),
    ],
)
def test_what_training_refuses(change, error, message):
    with pytest.raises(error, match=message):
        train(chain(), bright(), epochs=1, lr=0.01, **change)


def test_what_cannot_be_corrupted_or_relabelled():
    loose = [(IMAGES[:4], LABELS[:4])]
    for options in ({"corruptions": ("contrast",)}, {"label_noise": 0.1}):
        with pytest.raises(BadInput, match="in memory: pass prudent.batches.Batches; got list"):
            epochs_of(loose, **options)
    assert epochs_of(loose)(3) is loose
    with pytest.raises(BadInput, match="before any normalisation"):
        epochs_of(dataclasses.replace(pictures(), inputs=IMAGES * 2), corruptions=("contrast",))
    with pytest.raises(BadInput, match="label noise needs labels"):
        epochs_of(dataclasses.replace(pictures(), labels=None), label_noise=0.1)
