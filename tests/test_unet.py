"""The U-Net: its size by hand, its forward pass written out again, and that channels are cut out of it exactly."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import prudent
from prudent.building import build
from prudent.errors import BadInput, CannotPrune
from prudent.network import macs, parameters, prunable
from prudent.surgery.chain import links

GREY = (1, 32, 32)


def unet(shape=GREY, classes=1, *, seed=0, **options):
    """In evaluation mode, with normalisations and a bias that are not the trivial ones."""
    model = build("unet", shape, classes, seed=seed, options=options).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.running_var):
                    values.copy_(torch.rand(len(values), generator=generator) + 0.5)
                for values in (module.bias, module.running_mean):
                    values.copy_(torch.randn(len(values), generator=generator) * 0.2)
        model.head.bias.copy_(torch.randn(classes, generator=generator))
    return model


def pictures(n=3, shape=GREY, seed=7):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def test_sizes_by_hand():
    model = unet()
    fine = 9 * (1 * 8 + 8 * 8) + 9 * 16 * 8 + 9 * (16 * 8 + 8 * 8)  # down.0, up.1, merge.1 at 32 x 32
    middle = 9 * (8 * 16 + 16 * 16) + 9 * 32 * 16 + 9 * (32 * 16 + 16 * 16)  # down.1, up.0, merge.0 at 16 x 16
    coarse = 9 * (16 * 32 + 32 * 32)  # down.2 at 8 x 8
    norms = 2 * (2 * 8 + 2 * 16 + 2 * 32 + 16 + 8 + 2 * 16 + 2 * 8)
    assert parameters(model) == fine + middle + coarse + norms + 8 + 1 == 32_705
    assert macs(model, torch.zeros(1, *GREY)) == 1024 * (fine + 8) + 256 * middle + 64 * coarse == 8_339_456
    assert sum(w.numel() for w in prunable(model).values()) == fine + middle + coarse + 8


def test_the_forward_pass_written_out_again():
    model = unet((3, 8, 16), 2, widths=(3, 5)).double()
    state, x = model.state_dict(), pictures(2, (3, 8, 16)).double()

    def step(x, conv, norm):
        x = F.conv2d(x, state[f"{conv}.weight"], padding=1)
        mean, var = (state[f"{norm}.running_{of}"][:, None, None] for of in ("mean", "var"))
        scale, shift = (state[f"{norm}.{of}"][:, None, None] for of in ("weight", "bias"))
        return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)

    def block(x, name):
        return step(step(x, f"{name}.conv1", f"{name}.norm1"), f"{name}.conv2", f"{name}.norm2")

    skip = block(x, "down.0")
    small = skip.reshape(2, 3, 4, 2, 8, 2).amax(dim=(3, 5))
    low = block(small, "down.1")
    large = low.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    merged = block(torch.cat([skip, step(large, "up.0.conv", "up.0.norm")], dim=1), "merge.0")
    expected = torch.einsum("nchw,kc->nkhw", merged, state["head.weight"][:, :, 0, 0])
    expected = expected + state["head.bias"][:, None, None]
    torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("classes", "widths", "scope"), [(1, (8, 16, 32), "global"), (3, (6, 4, 5, 7), "layer")], ids=str
)
def test_channels_are_cut_out_exactly(classes, widths, scope):
    model, example = unet(classes=classes, widths=widths), pictures()
    pruned = prudent.prune(model, sparsity=0.5, granularity="channel", scope=scope, minimum=1, example=example)
    small = prudent.shrink(pruned, example)
    assert small.proof.difference <= small.proof.tolerance
    assert (small.form, dict(small.kept), small.changing) == ("module", {}, ())
    assert abs(pruned.sparsity - 0.5) < 0.05
    assert small.params < 0.45 * parameters(model)
    assert small.macs < 0.5 * macs(model, torch.zeros(1, *GREY))
    # every convolution but the last can lose channels, whatever its skip connection is merged with
    assert set(pruned.mask.kept) == set(prunable(model)) - {"head.weight"}
    other = pictures(4, seed=11)
    masked, cut = pruned.model.double()(other.double()), small.model.double()(other.double())
    torch.testing.assert_close(cut, masked, rtol=1e-9, atol=1e-9)
    assert masked.shape == (4, classes, 32, 32)
    assert (masked - model.double()(other.double())).abs().max() > 0.1, "it was pruned at all"


def test_a_channel_that_is_skipped_and_pooled_goes_from_both_readers():
    model, example = unet(), pictures()
    pruned = prudent.prune(model, fractions={"down.0.conv2": 0.5}, granularity="channel", example=example)
    small = prudent.shrink(pruned, example).model
    assert small.down[0].conv2.out_channels == 4
    assert small.down[1].conv1.in_channels == 4
    assert small.merge[1].conv1.in_channels == 4 + 8
    assert small.merge[0].conv1.in_channels == 16 + 16
    at = pruned.mask.kept["down.0.conv2.weight"].nonzero()[:, 0]
    kept = torch.cat([at, torch.arange(8, 16)])
    assert torch.equal(small.merge[1].conv1.weight, model.merge[1].conv1.weight[:, kept])


def test_dead_channels_of_single_weights_are_cut_exactly():
    model, example = unet((1, 8, 8), widths=(3, 4)), pictures(shape=(1, 8, 8))
    with torch.no_grad():
        model.down[0].conv2.weight[1] = 0  # nothing makes this channel, and its constant is 0 after the ReLU
        model.down[0].norm2.running_mean[1], model.down[0].norm2.bias[1] = 0, -1
        # and nothing reads this one, the second that comes up
        model.merge[0].conv1.weight[:, 4] = 0
    pruned = prudent.prune(model, sparsity=0.3, example=example)
    small = prudent.shrink(pruned, example)
    assert small.proof.difference <= small.proof.tolerance
    assert small.model.down[0].conv2.out_channels <= 2
    assert small.model.up[0].conv.out_channels <= 2
    other = pictures(4, (1, 8, 8), seed=11).double()
    torch.testing.assert_close(small.model.double()(other), pruned.model.double()(other), rtol=1e-9, atol=1e-9)


def test_it_is_no_plain_network_and_no_classifier():
    with pytest.raises(CannotPrune, match="UNet"):
        links(unet())
    with pytest.raises(BadInput, match=r"logits of shape \(n, classes\); UNet answered \(3, 1, 32, 32\)"):
        prudent.predict(unet(), [pictures()], split="test")


def test_weights_are_drawn_as_in_the_paper():
    model = build("unet", GREY, 1, seed=0, options={"widths": [32, 64]}).requires_grad_(False)
    for conv, inputs in ((model.down[1].conv2, 64), (model.merge[0].conv1, 64), (model.up[0].conv, 64)):
        assert float(conv.weight.std()) == pytest.approx(math.sqrt(2 / (9 * inputs)), rel=0.05)
    assert not model.head.bias.any()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 30, 32), {}, r"sides are multiples of 4; got \(1, 30, 32\): pad or crop them"),
        ((1, 32, 34), {}, r"sides are multiples of 4; got \(1, 32, 34\)"),
        ((1, 36, 36), {"widths": (1, 1, 1, 1)}, "sides are multiples of 8"),
        (GREY, {"widths": (8,)}, r"two widths or more; got \(8,\)"),
        (GREY, {"widths": (8, 0)}, "widths of at least 1"),
    ],
)
def test_refusals(shape, options, message):
    with pytest.raises(BadInput, match=f"^model 'unet' needs .*{message}"):
        build("unet", shape, 1, seed=0, options=options)
