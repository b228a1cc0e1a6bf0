"""Every corruption against its definition: published tables, loops over pixels, SciPy, Pillow, colorsys, formulas."""

import colorsys
import io
import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from prudent.corrupting import corrupt, strengths
from prudent.corruptions import CORRUPTIONS
from prudent.corruptions._filters import between, mirrored, smooth, streak, zoomed
from prudent.corruptions._plasma import plasma
from prudent.corruptions._water import distances, edges, equalised, ripples
from prudent.corruptions.defocus_blur import disk
from prudent.corruptions.glass_blur import replaced_by
from prudent.corruptions.pixelate import boxes
from prudent.corruptions.zoom_blur import zooms_of
from prudent.draws import draws_of
from tests.contract.test_corruptions import photographs

# as in make_cifar_c.py and imagenet_c/corruptions.py of github.com/hendrycks/robustness
PUBLISHED = {
    "gaussian_noise": ([0.04, 0.06, 0.08, 0.09, 0.10], [0.08, 0.12, 0.18, 0.26, 0.38]),
    "shot_noise": ([500, 250, 100, 75, 50], [60, 25, 12, 5, 3]),
    "impulse_noise": ([0.01, 0.02, 0.03, 0.05, 0.07], [0.03, 0.06, 0.09, 0.17, 0.27]),
    "speckle_noise": ([0.06, 0.1, 0.12, 0.16, 0.2], [0.15, 0.2, 0.35, 0.45, 0.6]),
    "gaussian_blur": ([0.4, 0.6, 0.7, 0.8, 1], [1, 2, 3, 4, 6]),
    "glass_blur": (
        [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
        [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    ),
    "defocus_blur": (
        [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)],
        [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
    ),
    "motion_blur": ([(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)], [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)]),
    "zoom_blur": (
        [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
        [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
    ),
    "fog": (
        [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
        [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
    ),
    "frost": (
        [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
        [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    ),
    "snow": (
        [
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ],
        [
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ],
    ),
    "spatter": (
        [
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ],
        [
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ],
    ),
    "contrast": ([0.75, 0.5, 0.4, 0.3, 0.15], [0.4, 0.3, 0.2, 0.1, 0.05]),
    "brightness": ([0.05, 0.1, 0.15, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5]),
    "saturate": (
        [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
        [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
    ),
    "jpeg_compression": ([80, 65, 58, 50, 40], [25, 18, 15, 10, 7]),
    "pixelate": ([0.95, 0.9, 0.85, 0.75, 0.65], [0.6, 0.5, 0.4, 0.3, 0.25]),
}
# in pixels: of an image of 32, and of one of 224 with the published slip of 244
ELASTIC = (
    [
        (0, 0, 32 * 0.08),
        (32 * 0.05, 32 * 0.2, 32 * 0.07),
        (32 * 0.08, 32 * 0.06, 32 * 0.06),
        (32 * 0.1, 32 * 0.04, 32 * 0.05),
        (32 * 0.1, 32 * 0.03, 32 * 0.03),
    ],
    [
        (244 * 2, 244 * 0.7, 244 * 0.1),
        (244 * 2, 244 * 0.08, 244 * 0.2),
        (244 * 0.05, 244 * 0.01, 244 * 0.02),
        (244 * 0.07, 244 * 0.01, 244 * 0.02),
        (244 * 0.12, 244 * 0.01, 244 * 0.02),
    ],
)


def draws(name: str, n: int, seed: int = 0):
    """The numbers that `corrupt` draws for examples 0 .. n - 1, in float64."""
    return draws_of(f"corruption {name}", seed, torch.arange(n), torch.zeros(0, dtype=torch.float64))


@pytest.fixture(scope="module")
def images():
    return photographs(3, 32, 8).double()


def test_published_tables():
    assert set(PUBLISHED) | {"elastic_transform"} == set(CORRUPTIONS)
    for name, (cifar, imagenet) in PUBLISHED.items():
        assert list(strengths(name, table="cifar")) == cifar
        assert list(strengths(name, table="imagenet")) == imagenet
    for table, side, expected in (("cifar", 32, ELASTIC[0]), ("imagenet", 224, ELASTIC[1])):
        assert np.allclose(np.array(strengths("elastic_transform", table=table)) * side, expected, rtol=1e-12)


@pytest.mark.parametrize("table", ["cifar", "imagenet"])
@pytest.mark.parametrize("severity", [1, 5])
def test_variance_of_the_noises(table, severity):
    x, n = 0.4, 60 * 3 * 32 * 32
    flat = torch.full((60, 3, 32, 32), x, dtype=torch.float64)
    c = {name: PUBLISHED[name][table == "imagenet"][severity - 1] for name in PUBLISHED}
    out = {
        name: corrupt(flat, f"{name}_noise", severity=severity, table=table).numpy()
        for name in ("gaussian", "speckle", "shot", "impulse")
    }
    for name, scale in (("gaussian", c["gaussian_noise"]), ("speckle", x * c["speckle_noise"])):
        clipped = np.clip(stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000, x, scale), 0, 1)
        assert abs(out[name].mean() - clipped.mean()) < 5 * scale / n**0.5
        assert abs(out[name].var() / clipped.var() - 1) < 5 * (2 / n) ** 0.5
        if scale < 0.1:
            assert abs(clipped.std() / scale - 1) < 1e-3  # nothing is clipped: the variance is the strength's square
    photons = c["shot_noise"]
    k = np.arange(5 * photons + 50)
    weights, values = stats.poisson.pmf(k, x * photons), np.minimum(k / photons, 1)
    mean = float(weights @ values)
    variance = float(weights @ (values - mean) ** 2)
    assert abs(out["shot"].mean() - mean) < 5 * (variance / n) ** 0.5
    assert abs(out["shot"].var() / variance - 1) < 0.02
    if photons >= 50:
        assert abs(variance / (x / photons) - 1) < 1e-3
    assert np.allclose(out["shot"] * photons, np.round(out["shot"] * photons), atol=1e-4)
    share = c["impulse_noise"]
    for value in (0.0, 1.0):
        found = (out["impulse"] == value).mean()
        assert abs(found - share / 2) < 5 * (share / 2 * (1 - share / 2) / n) ** 0.5
    assert set(np.unique(out["impulse"])) == {0.0, x, 1.0}


def test_noise_is_the_formula_of_the_draws(images):
    z = draws("gaussian_noise", 3).normal(3, 32, 32)
    expected = torch.clamp(images + 0.1 * z, 0, 1)
    torch.testing.assert_close(corrupt(images, "gaussian_noise", severity=5), expected)
    z = draws("speckle_noise", 3).normal(3, 32, 32)
    torch.testing.assert_close(corrupt(images, "speckle_noise", severity=5), torch.clamp(images * (1 + 0.2 * z), 0, 1))
    counts = corrupt(images, "shot_noise", severity=5) * 50
    assert abs(float((counts - 50 * images).mean())) < 0.2


@pytest.mark.parametrize("sigma", [0.05, 0.25, 0.7, 1.0, 6.0])
@pytest.mark.parametrize("shape", [(32, 32), (9, 21)])
def test_gaussian_blur_beside_scipy(sigma, shape):
    image = np.random.default_rng(0).random(shape)
    for mirror, mode, truncate in ((False, "nearest", 4.0), (True, "reflect", 3.0)):
        ours = smooth(torch.from_numpy(image), sigma, truncate=truncate, mirror=mirror)
        assert np.allclose(ours, ndimage.gaussian_filter(image, sigma, mode=mode, truncate=truncate), atol=1e-12)


def test_gaussian_blur_of_an_image(images):
    expected = ndimage.gaussian_filter(images.numpy(), (0, 0, 0.7, 0.7), mode="nearest", truncate=4.0)
    assert np.allclose(corrupt(images, "gaussian_blur"), expected, atol=1e-12)


def test_mirrors_beside_numpy():
    for size in (1, 2, 5):
        line = np.arange(size)
        places = torch.arange(-7, size + 7)
        assert (mirrored(places, size, twice=True).numpy() == np.pad(line, 7, mode="symmetric")).all()
        assert (mirrored(places, size, twice=False).numpy() == np.pad(line, 7, mode="reflect")).all()


def disk_by_loop(radius, softness):
    """Pixels within the radius, each of them spread over its neighbours, one after the other."""
    reach = 1 if radius <= 8 else 2
    around = range(-reach, reach + 1)
    mass = {(i, j): math.exp(-(i * i + j * j) / (2 * softness**2)) for i in around for j in around}
    total = sum(mass.values())
    size = int(radius) + reach
    out = np.zeros((2 * size + 1, 2 * size + 1))
    inside = [
        (i, j)
        for i in range(-int(radius), int(radius) + 1)
        for j in range(-int(radius), int(radius) + 1)
        if i * i + j * j <= radius * radius
    ]
    for i, j in inside:
        for (di, dj), weight in mass.items():
            out[size + i + di, size + j + dj] += weight / total / len(inside)
    return out


@pytest.mark.parametrize("table", ["cifar", "imagenet"])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_defocus_by_a_direct_convolution(table, severity, images):
    radius, softness = PUBLISHED["defocus_blur"][table == "imagenet"][severity - 1]
    expected = disk_by_loop(radius, softness)
    kernel = disk(radius, softness).numpy()
    assert kernel.shape == expected.shape
    assert np.allclose(kernel, expected, atol=1e-14)
    assert abs(kernel.sum() - 1) < 1e-12
    reach = len(kernel) // 2
    # the second is longer than what is filtered line by line
    for image in (images[0, 1].numpy()[:20, :13], np.random.default_rng(0).random((24, 66))):
        padded = np.pad(image, reach, mode="reflect")
        direct = np.empty_like(image)
        for y, x in np.ndindex(*image.shape):
            direct[y, x] = (padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1] * expected).sum()
        ours = corrupt(torch.from_numpy(image)[None, None], "defocus_blur", severity=severity, table=table)
        assert np.allclose(ours[0, 0], direct, atol=1e-12)


def test_disks_between_the_radii_of_the_tables():
    for radius in (2.5, 8.5):
        assert np.allclose(disk(radius, 0.7), disk_by_loop(radius, 0.7), atol=1e-14)


def streak_by_loop(image, radius, sigma, degrees):
    length = 2 * radius + 1
    kernel = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(length)]
    angle = math.radians(degrees)
    out = np.zeros_like(image)
    height, width = image.shape
    for y in range(height):
        for x in range(width):
            for i in range(length):
                across = math.ceil(i * math.cos(angle) - 0.5)
                down = math.ceil(i * math.sin(angle) - 0.5)
                seen = image[min(max(y + down, 0), height - 1), min(max(x + across, 0), width - 1)]
                out[y, x] += kernel[i] / sum(kernel) * seen
    return out


@pytest.mark.parametrize("degrees", [0.0, -45.0, 30.0, -90.0, -131.0])
def test_motion_by_loop(degrees):
    image = np.random.default_rng(1).random((11, 14))
    ours = streak(torch.from_numpy(image)[None, None], 4, 2.0, torch.tensor([degrees]))
    assert np.allclose(ours[0, 0], streak_by_loop(image, 4, 2.0, degrees), atol=1e-12)
    flat = streak(torch.full((1, 1, 9, 9), 0.3, dtype=torch.float64), 10, 3.0, torch.tensor([degrees]))
    assert np.allclose(flat, 0.3, atol=1e-14)


def test_motion_blur_draws_an_angle_for_each_image(images):
    angles = 90 * draws("motion_blur", 3).uniform() - 45
    ours = corrupt(images, "motion_blur", severity=2)
    for i in range(3):
        assert np.allclose(ours[i, 0], streak_by_loop(images[i, 0].numpy(), 6, 1.5, float(angles[i])), atol=1e-6)
    many = 90 * draws("motion_blur", 2000).uniform() - 45
    assert stats.kstest(many.numpy(), "uniform", (-45, 90)).pvalue > 1e-3


def zoom_by_scipy(image, factor):
    """The middle of a square image, enlarged by SciPy and cut to the image's size."""
    size = len(image)
    crop = int(np.ceil(size / factor))
    top = (size - crop) // 2
    large = ndimage.zoom(image[top : top + crop, top : top + crop], factor, order=1)
    trim = (len(large) - size) // 2
    return large[trim : trim + size, trim : trim + size]


@pytest.mark.parametrize("factor", [1.0, 1.01, 1.13, 1.25, 2.25, 4.5])
@pytest.mark.parametrize("size", [32, 45])
def test_zoom_beside_scipy(factor, size):
    image = np.random.default_rng(2).random((size, size))
    assert np.allclose(zoomed(torch.from_numpy(image), factor), zoom_by_scipy(image, factor), atol=1e-12)


def test_zoom_blur_beside_scipy(images):
    ranges = {
        "cifar": [np.arange(1, stop, 0.01) for stop in (1.06, 1.11, 1.16, 1.21, 1.26)],
        "imagenet": [
            np.arange(1, 1.11, 0.01), np.arange(1, 1.16, 0.01), np.arange(1, 1.21, 0.02), np.arange(1, 1.26, 0.02),
            np.arange(1, 1.31, 0.03),
        ],
    }  # fmt: skip
    for table, five in ranges.items():
        for row, zooms in zip(strengths("zoom_blur", table=table), five, strict=True):
            assert len(zooms_of(*row)) == len(zooms)
            assert np.allclose(zooms_of(*row), zooms)
    image = images[0, 0].numpy()
    expected = (image + sum(zoom_by_scipy(image, z) for z in ranges["cifar"][3])) / (len(ranges["cifar"][3]) + 1)
    assert np.allclose(corrupt(images, "zoom_blur", severity=4)[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_replacing_pixels_one_after_the_other(reach):
    height, width = 13, 17
    shifts = torch.randint(-reach, reach, (5, 2, height, width), generator=torch.Generator().manual_seed(0))
    ours = replaced_by(shifts, reach)
    for i in range(5):
        shown = np.arange(height * width).reshape(height, width)
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                shown[y, x] = shown[y + int(shifts[i, 0, y, x]), x + int(shifts[i, 1, y, x])]
        assert (ours[i].numpy() == shown.reshape(-1)).all()


def test_glass_blur_is_blur_replacing_blur(images):
    sigma, reach, rounds = 0.4, 1, 2
    own = draws("glass_blur", 3)
    expected = ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest")
    for _ in range(rounds):
        sources = replaced_by(own.integers(-reach, reach, 2, 32, 32), reach).numpy()
        for i in range(3):
            expected[i] = expected[i].reshape(3, -1)[:, sources[i]].reshape(3, 32, 32)
    expected = ndimage.gaussian_filter(expected, (0, 0, sigma, sigma), mode="nearest")
    assert np.allclose(corrupt(images, "glass_blur", severity=5), expected, atol=1e-12)


def plasma_by_loop(noise, decay):
    """Diamond-square, one point after the other."""
    size = len(noise)
    heights = {(0, 0): 0.0}
    step, amplitude = size, 10_000.0
    while step >= 2:
        half = step // 2
        for y in range(half, size, step):
            for x in range(half, size, step):
                four = [(y + dy, x + dx) for dy in (-half, half) for dx in (-half, half)]
                mean = sum(heights[a % size, b % size] for a, b in four) / 4
                heights[y, x] = mean + amplitude * noise[y, x]
        for y in range(0, size, half):
            for x in range(half if y % step == 0 else 0, size, step):
                four = [(y - half, x), (y + half, x), (y, x - half), (y, x + half)]
                mean = sum(heights[a % size, b % size] for a, b in four) / 4
                heights[y, x] = mean + amplitude * noise[y, x]
        step, amplitude = half, amplitude / decay**2
    grid = np.array([[heights[y, x] for x in range(size)] for y in range(size)])
    return (grid - grid.min()) / (grid.max() - grid.min())


@pytest.mark.parametrize(("shape", "size"), [((16, 16), 16), ((9, 12), 16), ((5, 8), 8), ((2, 2), 2)])
def test_plasma_by_loop(shape, size):
    noise = 2 * draws("fog", 2).uniform(size, size).numpy() - 1
    ours = plasma(draws("fog", 2), *shape, 1.75)
    for i in range(2):
        assert np.allclose(ours[i], plasma_by_loop(noise[i], 1.75)[: shape[0], : shape[1]], atol=1e-12)


def test_fog_and_frost_are_their_formulas(images):
    noise = 2 * draws("fog", 3).uniform(32, 32).numpy() - 1
    ours = corrupt(images, "fog", severity=4)
    crystals = 2 * draws("frost", 3).uniform(32, 32).numpy() - 1
    frozen = corrupt(images, "frost", severity=5)
    for i in range(3):
        image = images[i].numpy()
        top = image.max()
        expected = (image + 1.0 * plasma_by_loop(noise[i], 2.0)) * top / (top + 1.0)
        assert np.allclose(ours[i], np.clip(expected, 0, 1), atol=1e-6)
        landscape = plasma_by_loop(crystals[i], 1.7)
        ridges = np.where(landscape < 0.5, 2 * landscape, 2 - 2 * landscape)
        assert np.allclose(frozen[i], np.clip(0.75 * image + 0.45 * ridges, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("severity", "row"), [(3, (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9)), (1, (0.1, 0.2, 1, 0.6, 8, 3, 0.95))]
)
def test_snow_by_its_definition(severity, row, images):
    mean, deviation, factor, threshold, radius, sigma, keep = row
    own = draws("snow", 3)
    z, fall = own.normal(1, 32, 32).numpy(), own.uniform().numpy()
    ours = corrupt(images, "snow", severity=severity).numpy()
    for i in range(3):
        flakes = zoom_by_scipy(mean + deviation * z[i, 0], factor)
        flakes[flakes < threshold] = 0
        flakes = streak_by_loop(np.clip(flakes, 0, 1), radius, sigma, -135 + 90 * (1 - fall[i]))
        r, g, b = images[i].numpy()
        white = np.maximum(images[i].numpy(), (0.299 * r + 0.587 * g + 0.114 * b) * 1.5 + 0.5)
        expected = keep * images[i].numpy() + (1 - keep) * white + flakes + np.rot90(flakes, 2)
        assert np.allclose(ours[i], np.clip(expected, 0, 1), atol=1e-6)


def test_mud_by_its_definition(images):
    z = draws("spatter", 3).normal(32, 32).numpy()
    ours = corrupt(images, "spatter", severity=5).numpy()
    brown = np.array([63, 42, 20])[:, None, None] / 255
    for i in range(3):
        drops = ndimage.gaussian_filter(0.65 + 0.1 * z[i], 0.5, mode="nearest")
        m = ndimage.gaussian_filter((drops > 0.68).astype(float), 0.6, mode="nearest")
        m[m < 0.8] = 0
        assert 0 < (m > 0).mean() < 1
        assert np.allclose(ours[i], images[i].numpy() * (1 - m) + brown * m, atol=1e-12)


def test_water_by_its_definition(images):
    z = draws("spatter", 3).normal(32, 32).numpy()
    ours = corrupt(images, "spatter", severity=2).numpy()
    colour = np.array([175, 238, 238])[:, None, None] / 255
    for i in range(3):
        drops = ndimage.gaussian_filter(0.65 + 0.1 * z[i], 0.8, mode="nearest")
        levels = np.floor(np.where(drops < 0.7, 0, drops) * 255)
        assert 0 < (levels > 0).mean() < 1
        m = levels * ripples(torch.from_numpy(levels)[None])[0].numpy()
        assert m.max() > 0
        assert np.allclose(ours[i], np.clip(images[i].numpy() + 0.5 * m / m.max() * colour, 0, 1), atol=1e-9)


def blobs(n=4, size=24):
    noise = np.random.default_rng(3).normal(0.65, 0.1, (n, size, size))
    smoothed = ndimage.gaussian_filter(noise, (0, 1, 1))
    return np.floor(np.where(smoothed < 0.67, 0, smoothed) * 255)


def test_edges_by_loop():
    levels = blobs()
    ours = edges(torch.from_numpy(levels)).numpy()
    for i, image in enumerate(levels):
        across, down = (ndimage.sobel(image, axis=axis, mode="nearest") for axis in (1, 0))
        steep = np.pad(abs(across) + abs(down), 1)
        for y in range(24):
            for x in range(24):
                angle = math.degrees(math.atan2(abs(down[y, x]), abs(across[y, x])))
                same = across[y, x] * down[y, x] >= 0
                here = steep[y + 1, x + 1]
                if angle < 22.5:
                    best = here > steep[y + 1, x] and here >= steep[y + 1, x + 2]
                elif angle > 67.5:
                    best = here > steep[y, x + 1] and here >= steep[y + 2, x + 1]
                else:
                    step = 1 if same else -1
                    best = here > steep[y, x + 1 - step] and here > steep[y + 2, x + 1 + step]
                assert ours[i, y, x] == (best and here > 150)
    assert 0 < ours.mean() < 0.5


def test_distances_beside_scipy():
    for share, shape in ((0.02, (40, 50)), (0.2, (7, 9)), (0.001, (60, 45))):
        marked = np.random.default_rng(4).random((3, *shape)) < share
        ours = distances(torch.from_numpy(marked)).numpy()
        for i in range(3):
            exact = ndimage.distance_transform_edt(~marked[i]) if marked[i].any() else np.full(shape, 99.0)
            assert np.allclose(np.minimum(ours[i], 20), np.minimum(exact, 20), atol=1e-5)


def test_flat_histograms_by_loop():
    levels = np.random.default_rng(5).binomial(20, 0.2, (3, 12, 11)).astype(float)
    ours = equalised(torch.from_numpy(levels)).numpy()
    for i in range(3):
        lowest = (levels[i] == levels[i].min()).sum()
        for value in np.unique(levels[i]):
            rank = (levels[i] <= value).sum() - lowest
            expected = math.floor(255 * rank / (levels[i].size - lowest) + 0.5)
            assert (ours[i][levels[i] == value] == expected).all()
    assert (equalised(torch.full((1, 4, 4), 7.0)) == 7).all()


def test_ripples_by_their_steps():
    levels = blobs()
    ours = ripples(torch.from_numpy(levels)).numpy()
    for i, image in enumerate(levels):
        edge = edges(torch.from_numpy(image)[None])[0].numpy()
        near = np.minimum(ndimage.distance_transform_edt(~edge), 20)
        flat = equalised(torch.from_numpy(np.floor(ndimage.uniform_filter(near, 3, mode="mirror") + 1e-4))[None])[
            0
        ].numpy()
        lit = ndimage.correlate(flat, np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]), mode="mirror").clip(0, 255)
        assert np.allclose(ours[i], ndimage.uniform_filter(lit, 3, mode="mirror"), atol=1e-4)


def test_brightness_and_saturation_beside_colorsys(images):
    small = images[:2, :, ::4, ::4].clone()
    small[0, :, 0, 0] = 0.0
    small[0, :, 0, 1] = 0.6
    bright = {s: corrupt(small, "brightness", severity=s).numpy() for s in (1, 5)}
    coloured = {s: corrupt(small, "saturate", severity=s).numpy() for s in range(1, 6)}
    for i in range(2):
        for y in range(small.shape[2]):
            for x in range(small.shape[3]):
                h, s, v = colorsys.rgb_to_hsv(*small[i, :, y, x].tolist())
                for severity, shift in ((1, 0.05), (5, 0.3)):
                    expected = colorsys.hsv_to_rgb(h, s, min(v + shift, 1))
                    assert np.allclose(bright[severity][i, :, y, x], expected, atol=1e-9)
                for severity, (factor, shift) in enumerate(PUBLISHED["saturate"][0], start=1):
                    expected = colorsys.hsv_to_rgb(h, min(s * factor + shift, 1), v)
                    assert np.allclose(coloured[severity][i, :, y, x], expected, atol=1e-9)


def test_contrast_by_loop(images):
    ours = corrupt(images, "contrast", severity=5, table="imagenet").numpy()
    for i in range(3):
        for channel in range(3):
            plane = images[i, channel].numpy()
            assert np.allclose(ours[i, channel], plane.mean() + 0.05 * (plane - plane.mean()), atol=1e-12)


@pytest.mark.parametrize("size", [32, 28, 9])
@pytest.mark.parametrize("factor", [0.95, 0.9, 0.85, 0.75, 0.65, 0.6, 0.25, 0.01])
def test_pixelate_by_loop(size, factor):
    small = max(1, int(factor * size))
    line = np.random.default_rng(6).random(size)
    reduced = []
    for i in range(small):
        low, high = i * size / small, (i + 1) * size / small
        reduced.append(np.mean([line[j] for j in range(size) if low < j + 0.5 <= high]))
    enlarged = [reduced[math.ceil((j + 0.5) * small / size) - 1] for j in range(size)]
    reduce, shown = boxes(size, small)
    assert np.allclose(reduce.numpy() @ line, reduced, atol=1e-12)
    assert np.allclose(reduce[shown].numpy() @ line, enlarged, atol=1e-12)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("table", ["cifar", "imagenet"])
def test_pixelate_beside_pillow(severity, table):
    image_of = pytest.importorskip("PIL.Image")
    images = (photographs(3, 32, 8) * 255).round() / 255
    small = int(32 * PUBLISHED["pixelate"][table == "imagenet"][severity - 1])
    ours = corrupt(images, "pixelate", severity=severity, table=table)
    for i in range(3):
        pixels = image_of.fromarray((images[i].permute(1, 2, 0) * 255).round().byte().numpy())
        theirs = pixels.resize((small, small), image_of.Resampling.BOX).resize((32, 32), image_of.Resampling.BOX)
        # Pillow rounds rows and columns to 8 bits, one after the other
        assert abs(ours[i].permute(1, 2, 0).numpy() * 255 - np.asarray(theirs)).max() <= 1.01


LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
])  # fmt: skip
"""Table K.1 of ITU-T T.81, the JPEG standard."""


@pytest.mark.parametrize(
    "shape",
    [(3, 32, 32), (3, 16, 17), (3, 48, 5), (3, 64, 4), (3, 16, 1), (3, 24, 24), (3, 20, 33), (1, 28, 28), (1, 7, 9)],
)
@pytest.mark.parametrize("quality", [7, 25, 58, 95])
def test_jpeg_is_a_file_for_each_image(shape, quality):
    image_of = pytest.importorskip("PIL.Image")
    generator = torch.Generator().manual_seed(7)
    noise = torch.rand(3, *shape, generator=generator)
    inputs = torch.cat(
        [noise, noise.round(), torch.zeros(1, *shape), torch.ones(1, *shape), noise.mean((2, 3), True) + 0 * noise]
    )
    inputs = torch.cat([inputs, CORRUPTIONS["gaussian_blur"](inputs, 2.0, draws("gaussian_blur", len(inputs)))])
    ours = CORRUPTIONS["jpeg_compression"](inputs, quality, draws("jpeg_compression", len(inputs)))
    for image, out in zip(inputs, ours, strict=True):
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        image_of.fromarray(pixels if len(image) == 3 else pixels[..., 0]).save(file, "JPEG", quality=quality)
        alone = np.asarray(image_of.open(file)).reshape(pixels.shape)
        assert ((out * 255).round().byte().permute(1, 2, 0).numpy() == alone).all()


def test_jpeg_of_more_rows_than_a_file_may_have():
    inputs = torch.rand(9001, 1, 8, 8, generator=torch.Generator().manual_seed(8))
    jpeg = CORRUPTIONS["jpeg_compression"]
    last = torch.arange(8990, 9001)
    whole, part = (
        jpeg(inputs, 50, draws("jpeg_compression", 9001)),
        jpeg(inputs[last], 50, draws("jpeg_compression", 11)),
    )
    assert torch.equal(whole[last], part)


@pytest.mark.parametrize(("severity", "table"), [(1, "cifar"), (5, "cifar"), (1, "imagenet"), (5, "imagenet")])
def test_jpeg_of_grey_images_by_quantised_cosines(severity, table):
    quality = PUBLISHED["jpeg_compression"][table == "imagenet"][severity - 1]
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    steps = np.clip(np.floor((LUMINANCE * scale + 50) / 100), 1, 255)
    places = np.arange(8)
    cosines = np.sqrt(2 / 8) * np.cos((2 * places + 1) * places[:, None] * np.pi / 16)
    cosines[0] /= np.sqrt(2)
    pixels, errors = (photographs(3, 32, 8).mean(1, keepdim=True) * 255).round(), []
    ours = corrupt(pixels / 255, "jpeg_compression", severity=severity, table=table).numpy() * 255
    for i in range(3):
        for y in range(0, 32, 8):
            for x in range(0, 32, 8):
                block = pixels[i, 0, y : y + 8, x : x + 8].numpy() - 128
                ratios = cosines @ block @ cosines.T / steps
                # halves away from 0; the sum of a block is often exactly one
                kept = np.sign(ratios) * np.floor(abs(ratios) + 0.5 + 1e-9) * steps
                expected = np.clip(np.round(cosines.T @ kept @ cosines) + 128, 0, 255)
                errors.append(abs(ours[i, 0, y : y + 8, x : x + 8] - expected).max())
    # libjpeg's cosines are of whole numbers: a coefficient near a half may be rounded the other way
    assert np.mean(np.array(errors) <= 1) > 0.8
    assert np.allclose(ours, np.round(ours), atol=1e-3)


def test_between_beside_scipy():
    generator = np.random.default_rng(7)
    image = generator.random((2, 3, 9, 12))
    y, x = generator.uniform(-20, 30, (2, 9, 12)), generator.uniform(-25, 35, (2, 9, 12))
    for twice, mode in ((True, "reflect"), (False, "mirror")):
        ours = between(*(torch.from_numpy(a) for a in (image, y, x)), twice=twice)
        for i in range(2):
            for channel in range(3):
                theirs = ndimage.map_coordinates(image[i, channel], [y[i], x[i]], order=1, mode=mode)
                assert np.allclose(ours[i, channel], theirs, atol=1e-9)


@pytest.mark.parametrize("severity", [1, 2, 5])
def test_elastic_by_scipy(severity):
    height, width = 32, 40
    images = torch.from_numpy(np.random.default_rng(8).random((2, 3, height, width)))
    displacement, sigma, corner = ELASTIC[0][severity - 1]
    own = draws("elastic_transform", 2)
    moves = corner * (2 * own.uniform(3, 2).numpy() - 1)
    noise = 2 * own.uniform(2, height, width).numpy() - 1
    ours = corrupt(images, "elastic_transform", severity=severity)
    middle, third = np.array([20.0, 16.0]), 10
    before = np.array([middle + third, [middle[0] + third, middle[1] - third], middle - third])
    y, x = np.mgrid[:height, :width]
    for i in range(2):
        # forward: result = matrix @ (x, y, 1); the result's pixel (x, y) comes from the inverse
        forward = np.linalg.solve(np.c_[before, np.ones(3)], before + moves[i]).T
        inverse = np.linalg.inv(np.r_[forward, [[0, 0, 1]]])
        from_x, from_y, _ = np.tensordot(inverse, np.stack([x, y, np.ones_like(x)]), axes=1)
        if sigma:
            field = np.stack([ndimage.gaussian_filter(part, sigma, mode="reflect", truncate=3) for part in noise[i]])
        else:
            field = noise[i]
        dx, dy = displacement * field
        for channel in range(3):
            sheared = ndimage.map_coordinates(images[i, channel].numpy(), [from_y, from_x], order=1, mode="mirror")
            expected = ndimage.map_coordinates(sheared, [y + dy, x + dx], order=1, mode="reflect")
            assert np.allclose(ours[i, channel], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5), (4,), ()])
def test_normal_numbers_are_pairs_of_a_radius_and_an_angle(shape):
    size = math.prod(shape)
    pairs = math.ceil(size / 2)
    own = draws("x", 4)
    words = np.stack([g.bit_generator.random_raw(pairs) for _, g in draws("x", 4)._generators()])
    for i, row in enumerate(words):
        halves = [int(word) >> shift & 0xFFFFFFFF for word in row for shift in (0, 32)]
        z = []
        for part in (math.cos, math.sin):
            for j, k in zip(halves[:pairs], halves[pairs:], strict=True):
                radius = math.sqrt(-2 * math.log(((j & 0x7FFFFFFF) + 0.5) / 2**31))
                z.append(radius * part(2 * math.pi * k / 2**32))
        if i == 0:
            drawn = own.normal(*shape)
            assert drawn.shape == (4, *shape)
        assert np.allclose(drawn[i].flatten(), z[:size], atol=2e-6)


def test_uniform_numbers_are_those_of_numpy():
    own = draws("x", 3).uniform(5, 3)
    for i, generator in draws("x", 3)._generators():
        assert (own[i].numpy() == generator.random((5, 3), np.float32)).all()


def test_a_million_normal_numbers_and_their_tails():
    z = draws("x", 1000).normal(1000).numpy()
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    for beyond in (2, 3, 4):
        for side in (z > beyond, z < -beyond):
            expected = 10**6 * stats.norm.sf(beyond)
            assert abs(side.sum() - expected) < 5 * expected**0.5
    # what belongs to one pair has nothing in common either
    for numbers in (z, z**2):
        assert abs(np.corrcoef(numbers[:, :500].ravel(), numbers[:, 500:].ravel())[0, 1]) < 5 / 500_000**0.5


@pytest.mark.parametrize(("size", "twice"), [(1, True), (1, False), (2, True), (2, False), (7, True), (7, False)])
def test_places_between_pixels_beside_scipy(size, twice):
    image = np.random.default_rng(0).random((size, 6))
    y, x = np.random.default_rng(1).uniform(-3 * size - 9, 3 * size + 9, (2, size, 6))
    mode = "reflect" if twice else "mirror"
    expected = ndimage.map_coordinates(image, [y, x], order=1, mode=mode)
    ours = between(*(torch.from_numpy(a)[None] for a in (image[None], y, x)), twice=twice)
    assert np.allclose(ours[0, 0], expected, atol=1e-12)


def test_draws_are_the_examples_own_and_of_their_law():
    ids = torch.tensor([5, 0, 10**12])
    like = torch.zeros(0, dtype=torch.float64)
    own, alone = draws_of("x", 1, ids, like), draws_of("x", 1, ids[2:], like)
    for _ in range(2):
        assert torch.equal(own.normal(4, 5)[2:], alone.normal(4, 5))
        assert torch.equal(own.integers(-2, 2, 7)[2:], alone.integers(-2, 2, 7))
    first = draws_of("x", 1, ids, like)
    numbers = torch.stack([first.uniform(2000), first.uniform(2000), draws_of("x", 2, ids, like).uniform(2000),
                           draws_of("y", 1, ids, like).uniform(2000)]).reshape(12, 2000)  # fmt: skip
    correlation = np.corrcoef(numbers.numpy()) - np.eye(12)
    assert abs(correlation).max() < 5 / 2000**0.5
    for row in numbers:
        assert stats.kstest(row.numpy(), "uniform").pvalue > 1e-4
    assert stats.kstest(first.normal(2000).reshape(-1).numpy(), "norm").pvalue > 1e-4
    whole = first.integers(-2, 2, 5000)
    assert whole.unique().tolist() == [-2, -1, 0, 1]
