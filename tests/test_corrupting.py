"""corrupt, corrupt_some, add_noise: choices, refusals, memory in parts."""

import numpy as np
import pytest
import torch

import prudent.corrupting
from prudent.corrupting import MIX, add_noise, corrupt, corrupt_some, strengths
from prudent.corruptions import CORRUPTIONS
from prudent.errors import BadInput, UnknownName

IMAGES = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_the_table_goes_by_the_shorter_side():
    assert strengths("contrast", side=64) == strengths("contrast", table="cifar")
    assert strengths("contrast", side=65) == strengths("contrast", table="imagenet")
    wide = torch.rand(1, 1, 64, 200)
    assert torch.equal(corrupt(wide, "contrast"), corrupt(wide, "contrast", table="cifar"))
    big = torch.rand(1, 1, 65, 65)
    assert torch.equal(corrupt(big, "contrast"), corrupt(big, "contrast", table="imagenet"))


def test_the_severity_is_the_row_of_the_table():
    mean = IMAGES.mean((2, 3), keepdim=True)
    for severity, kept in enumerate((0.75, 0.5, 0.4, 0.3, 0.15), start=1):
        expected = mean + kept * (IMAGES - mean)
        torch.testing.assert_close(corrupt(IMAGES, "contrast", severity=severity), expected)
    torch.testing.assert_close(corrupt(IMAGES, "contrast"), corrupt(IMAGES, "contrast", severity=3))


def test_parts_do_not_show(monkeypatch):
    whole = {name: corrupt(IMAGES, name, seed=2) for name in ("fog", "glass_blur", "shot_noise")}
    monkeypatch.setattr(prudent.corrupting, "PART", 2 * IMAGES[0].numel())
    for name, expected in whole.items():
        torch.testing.assert_close(corrupt(IMAGES, name, seed=2), expected, rtol=0, atol=2e-6)


def test_gradients_do_not_flow():
    assert not corrupt(IMAGES.clone().requires_grad_(), "contrast").requires_grad


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(3, 8, 8), "n, c, h, w"),
        (torch.zeros(2, 4, 8, 8), "1 or 3 channels"),
        (torch.zeros(0, 3, 8, 8), "none empty"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "divide 8-bit pixels by 255"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.float16), "float32 or float64"),
        (torch.full((2, 3, 8, 8), 1.01), "before any normalisation; got values from 1.01"),
        (torch.full((2, 3, 8, 8), -0.01), "in \\[0, 1\\]"),
        (torch.full((2, 3, 8, 8), float("nan")), "nan"),
    ],
)
def test_images_that_are_refused(inputs, message):
    for call in (lambda x: corrupt(x, "fog"), corrupt_some, lambda x: add_noise(x, size=1)):
        with pytest.raises(BadInput, match=message):
            call(inputs)


def test_what_else_is_refused(unchecked):
    with pytest.raises(UnknownName, match="Did you mean 'fog'"):
        corrupt(IMAGES, "fogg")
    for severity in (0, 6, 2.5, True):
        with pytest.raises(BadInput, match="severity is 1, 2, 3, 4 or 5"):
            corrupt(IMAGES, "fog", severity=severity)
    with pytest.raises(BadInput, match="'cifar' or 'imagenet'"):
        corrupt(IMAGES, "fog", table="mnist")
    for ids in (torch.arange(5), -torch.arange(6), torch.arange(6.0), torch.ones(6, dtype=torch.bool)):
        with pytest.raises(BadInput, match="one integer >= 0 for each of 6 images"):
            corrupt(IMAGES, "fog", ids=ids)
    with pytest.raises(BadInput, match="at least one corruption"):
        corrupt_some(IMAGES, ())
    with pytest.raises(UnknownName, match="no corruption named 'fogg'"):
        corrupt_some(IMAGES, ("fogg",))
    for size in (-1.0, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="a number >= 0"):
            add_noise(IMAGES, size=size)
    with pytest.raises(BadInput, match="'uniform' or 'gaussian'"):
        add_noise(IMAGES, size=1, kind="normal")


def test_an_unknown_name_of_a_mix_is_refused_whatever_is_drawn(unchecked):
    for seed in range(5):
        with pytest.raises(UnknownName):
            corrupt_some(IMAGES[:1], ("fog", "fogg"), seed=seed)


def test_a_mix_leaves_one_in_names_plus_one_clean_and_draws_all_the_rest():
    images = torch.rand(3000, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    names = ("contrast", "brightness")
    mixed = corrupt_some(images, names, seed=5)
    settings = [(name, severity) for name in names for severity in range(1, 6)]
    made = torch.stack([images, *(corrupt(images, n, severity=s, seed=5) for n, s in settings)])
    which = (made - mixed).abs().amax((2, 3, 4)).argmin(0)
    assert float((made[which, torch.arange(3000)] - mixed).abs().max()) < 1e-6
    counts = torch.bincount(which, minlength=11).double() / 3000
    # four standard deviations of a share p of 3000: 0.034 for p = 1/3, 0.018 for p = 1/15
    assert abs(counts[0] - 1 / 3) < 0.035
    assert ((counts[1:] - 1 / 15).abs() < 0.019).all()


def test_a_mix_is_the_examples_own():
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    whole = corrupt_some(images, seed=1)
    part = torch.tensor([17, 3, 9])
    torch.testing.assert_close(corrupt_some(images[part], seed=1, ids=part), whole[part], rtol=0, atol=2e-6)
    assert not torch.equal(whole, corrupt_some(images, seed=2))
    assert set(MIX) < set(CORRUPTIONS)
    assert len(MIX) == 9


@pytest.mark.parametrize(("kind", "variance"), [("uniform", 1 / 3), ("gaussian", 1.0)])
def test_noise_is_centred_and_of_its_size(kind, variance):
    images = torch.full((40, 3, 32, 32), 0.5, dtype=torch.float64)
    n = images.numel()
    noise = (add_noise(images, size=8, kind=kind, seed=3) - images) / (8 / 255)
    assert abs(noise.mean()) < 5 * (variance / n) ** 0.5
    # the variance of a mean of squares is (fourth moment - variance^2) / n; 1/5 and 3 are the fourth moments
    fourth = {"uniform": 1 / 5, "gaussian": 3.0}[kind]
    assert abs(noise.square().mean() - variance) < 5 * ((fourth - variance**2) / n) ** 0.5
    if kind == "uniform":
        assert 0.999 < float(noise.abs().max()) <= 1
    assert np.isclose(np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1], 0, atol=0.08)


def test_sizes_of_noise_differ_by_size_alone_and_clipping_clips():
    one, three = (add_noise(IMAGES.double(), size=size, seed=1) - IMAGES for size in (1, 3))
    torch.testing.assert_close(3 * one, three)
    assert torch.equal(add_noise(IMAGES, size=0), IMAGES)
    free, cut = (add_noise(IMAGES, size=60, clip=clip) for clip in (False, True))
    assert free.min() < 0
    assert torch.equal(free.clamp(0, 1), cut)
    part = torch.tensor([4, 1])
    assert torch.equal(add_noise(IMAGES[part], size=60, ids=part), free[part])
