"""What every corruption holds: a new file in corruptions/ is checked by these without a line being added."""

import numpy as np
import pytest
import torch
from torch import Tensor

from prudent.corrupting import corrupt, strengths
from prudent.corruptions import CORRUPTIONS

NAMES = list(CORRUPTIONS)
COLOURING = {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "spatter", "saturate"}
"""Noise is drawn for each channel, drops have a colour, and a grey pixel that is saturated turns red."""

TURNS = {
    # published tables that do not grow everywhere
    ("saturate", "cifar"), ("saturate", "imagenet"),  # less colour, then more
    ("elastic_transform", "cifar"), ("elastic_transform", "imagenet"),  # less shear, then more waves
    ("glass_blur", "cifar"), ("glass_blur", "imagenet"),  # more blur, then more rounds
    ("frost", "cifar"), ("frost", "imagenet"),  # the same frost over a darker image
    ("motion_blur", "cifar"),  # severities 3 and 4 are the same to rounding
    ("spatter", "cifar"),  # water, then mud
}  # fmt: skip


def photographs(n: int, side: int, step: int, seed: int = 0) -> Tensor:
    """Patches of scikit-learn's two photographs, (n, 3, side, side) in [0, 1], means of step x step pixels."""
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(seed)
    sources, out = load_sample_images().images, []
    for i in range(n):
        image = sources[i % 2]
        top, left = (generator.integers(length - side * step + 1) for length in image.shape[:2])
        patch = image[top : top + side * step, left : left + side * step]
        out.append(patch.reshape(side, step, side, step, 3).mean((1, 3)))
    return torch.from_numpy(np.stack(out) / 255).permute(0, 3, 1, 2).float().contiguous()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return photographs(48, 32, 8)


@pytest.fixture(scope="module")
def large() -> Tensor:
    return photographs(4, 96, 4)


def test_the_nineteen():
    assert len(NAMES) == 19


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 32, 32), (3, 20, 33), (1, 8, 8), (1, 1, 1), (3, 70, 66)])
@pytest.mark.parametrize("table", ["cifar", "imagenet"])
def test_any_size_stays_in_range_and_finite(name, shape, table):
    inputs = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    before = inputs.clone()
    for severity in (1, 5):
        out = corrupt(inputs, name, severity=severity, table=table)
        assert out.shape == inputs.shape
        assert out.dtype == inputs.dtype
        assert out.isfinite().all()
        assert out.min() >= 0
        assert out.max() <= 1
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_images(name, level):
    out = corrupt(torch.full((2, 3, 16, 16), level), name, severity=5)
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", ["cifar", "imagenet"])
def test_severity_grows(name, table, images, large):
    inputs = images if table == "cifar" else large
    assert len(strengths(name, table=table)) == 5
    distances = [
        float((corrupt(inputs, name, severity=s, table=table) - inputs).square().mean().sqrt()) for s in range(1, 6)
    ]
    assert distances[0] > 0
    # motion_blur of CIFAR-10-C: severities 3 and 4 differ by pixels six sigmas away
    assert len({round(d, 9) for d in distances}) >= 4
    if (name, table) not in TURNS:
        assert distances == sorted(distances)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_images_and_the_global_generators_stay(name, images):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = corrupt(images[:4], name, seed=3)
    assert torch.equal(first, corrupt(images[:4], name, seed=3))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    random = not torch.equal(first, corrupt(images[:4], name, seed=4))
    assert random == (name not in DETERMINISTIC)


DETERMINISTIC = {
    "brightness", "contrast", "defocus_blur", "gaussian_blur", "jpeg_compression", "pixelate", "saturate", "zoom_blur",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_corrupted_alike_in_every_batch(name, images):
    whole = corrupt(images, name, severity=4, seed=1)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    for part in (order[:1], order[1:8], order[8:]):
        torch.testing.assert_close(
            corrupt(images[part], name, severity=4, seed=1, ids=part), whole[part], rtol=0, atol=2e-6
        )


@pytest.mark.parametrize("name", NAMES)
def test_examples_draw_for_themselves(name):
    same = photographs(1, 32, 8).expand(3, -1, -1, -1)
    out = corrupt(same, name)
    assert torch.equal(out[0], out[1]) == (name in DETERMINISTIC)


@pytest.mark.parametrize("name", NAMES)
def test_grey_images_stay_grey(name, images):
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for severity in (2, 5):
        out = corrupt(grey, name, severity=severity)
        spread = float((out.amax(1) - out.amin(1)).max())
        assert (spread > 0.01) == (name in COLOURING and not (name == "saturate" and severity == 2))
        if name not in COLOURING | {"jpeg_compression"}:
            alone = corrupt(grey[:, :1], name, severity=severity)
            torch.testing.assert_close(out[:, :1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_is_the_same_to_rounding(name, images):
    if name == "jpeg_compression":
        pytest.skip("rounds to 8 bits, where one step is 1/255")
    single, double = (corrupt(images[:8].to(dtype), name, severity=5) for dtype in (torch.float32, torch.float64))
    assert double.dtype == torch.float64
    # a threshold may fall between the two roundings
    assert ((single - double).abs() < 1e-4).double().mean() > 0.999


@pytest.mark.parametrize("name", NAMES)
def test_tables_can_be_read_without_importing(name):
    for table in ("cifar", "imagenet"):
        assert CORRUPTIONS.constant(name, table.upper()) == strengths(name, table=table)
    sentence, source = CORRUPTIONS.summary(name)
    assert sentence.endswith(".")
    assert "1903.12261" in source
