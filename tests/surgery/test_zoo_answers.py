"""The zoo's answers by brute force: once a unit is silent, what would go with it can be anything, and nobody hears."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from tests.surgery.zoo import CASES, Case

BY_NAME = {case.name: case for case in CASES}
Part = tuple[str, Any]  # a parameter's name, and an index into it


def at(index: Any, *names: str) -> tuple[Part, ...]:
    return tuple((name, index) for name in names)


def norm(index: Any, *names: str) -> tuple[Part, ...]:
    """Scale and shift of normalisations, or weight and bias of layers, at these outputs."""
    return tuple((f"{name}.{kind}", index) for name in names for kind in ("weight", "bias"))


def reads(index: Any, *names: str) -> tuple[Part, ...]:
    """Weights of layers at these inputs."""
    return tuple((f"{name}.weight", np.s_[:, index]) for name in names)


def gates(index: Any, suffix: str = "l0", module: str = "recurrent") -> tuple[Part, ...]:
    return at(index, *(f"{module}.{kind}_{suffix}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))


def cell(index: Any) -> tuple[Part, ...]:
    return at(index, *(f"cell.{kind}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))


def blocks(numbers: range | tuple[int, ...], rest: str) -> tuple[str, ...]:
    return tuple(f"blocks.{number}.{rest}" for number in numbers)


HEAD = slice(12, 18)  # the third of four heads of 6
QKV_HEAD = [*range(12, 18), *range(36, 42)]  # its queries and keys, where queries, keys, values lie one under another
VALUES = slice(60, 66)  # its values

# case, what is silenced, what is then unheard
CLAIMS: tuple[tuple[str, tuple[Part, ...], tuple[Part, ...]], ...] = (
    (
        "option_a",
        norm(1, "stem.1", *blocks(range(3), "second.1"))
        + norm(3, *blocks(range(3, 6), "second.1"))
        + norm(7, *blocks(range(6, 9), "second.1")),
        at(1, "stem.0.weight")
        + reads(1, *blocks(range(4), "first.0"))
        + reads(3, *blocks(range(4, 7), "first.0"))
        + reads(7, *blocks((7, 8), "first.0"), "head"),
    ),
    (
        "option_a",
        norm(0, *blocks(range(3, 6), "second.1")) + norm(4, *blocks(range(6, 9), "second.1")),
        reads(0, *blocks(range(4, 7), "first.0")) + reads(4, *blocks((7, 8), "first.0"), "head"),
    ),
    (
        "squeeze_excitation",
        norm(2, "stem.1", *blocks((0, 1), "body.1")),
        reads(2, *blocks((0, 1), "body.0"), *blocks((0, 1), "squeeze"), "head") + norm(2, *blocks((0, 1), "excite")),
    ),
    (
        "mobilenet_v2",
        norm(5, "blocks.0.depthwise.1"),
        at(5, "blocks.0.expand.0.weight", "blocks.0.expand.1.bias", "blocks.0.depthwise.0.weight")
        + reads(5, "blocks.0.project.0"),
    ),
    ("convnext", norm(5, "blocks.0.widen"), reads(5, "blocks.0.narrow")),
    ("shared_thrice", norm(2, "stem", "shared"), reads(2, "shared", "head")),
    ("densenet", norm(1, "layers.0.1"), reads(7, "layers.1.0", "layers.2.0", "transition.0")),
    ("unet", norm(1, "down1.1"), reads(1, "down2.0", "merge1.0")),
    ("unet", (*reads(2, "up1"), ("up1.bias", 2)), reads(6, "merge1.0")),
    ("inception", norm(2, "three.1"), reads(6, "mix.0")),
    ("inception", norm(1, "stem.1"), reads(1, "one.0", "three.0", "five.0", "pooled.0") + reads(15, "mix.0")),
    ("hard_coded_view", norm(3, "conv"), reads(slice(48, 64), "hidden")),
    ("grouped_conv", norm(5, "0"), at(np.s_[6:12, 1], "2.weight")),
    (
        "transposed_grouped",
        (*norm(7, "3"), ("5.bias", 7)),
        (("2.weight", np.s_[4:8, 1]), ("2.bias", 7), ("5.weight", 7), *reads(7, "7")),
    ),
    ("pixel_shuffle", norm(slice(8, 12), "widen"), reads(2, "after")),
    ("pixel_shuffle", norm(1, "after"), reads(slice(4, 8), "head")),
    (
        "chunk_c2f",
        norm(5, "enter.1") + norm(1, "inner.0.2.1", "inner.1.2.1"),
        reads(1, "inner.0.0.0", "inner.1.0.0") + reads([5, 9, 13], "leave.0"),
    ),
    ("chunk_c2f", norm(2, "enter.1"), at(2, "enter.0.weight") + reads(2, "leave.0")),
    ("glu", norm(2, "stem.1"), at([2, 8], "stem.0.weight") + norm(8, "stem.1") + reads(2, "body")),
    ("roll", norm(6, "stem.1"), reads(1, "body")),
    ("flip", norm(2, "stem.1"), reads(5, "body")),
    ("index_select", norm(0, "stem.1"), reads([1, 2], "body")),
    ("cat_constants", norm(4, "stem.1"), reads(5, "body")),
    ("slice_channels", norm(1, "stem.1"), reads(6, "body")),
    ("split_unequal", norm(1, "stem.1"), reads(6, "body")),
    ("stack", norm(1, "a.1", "b.1"), at(1, "a.0.weight", "b.0.weight") + reads([2, 3], "body")),
    (
        "channel_shuffle",  # (made by group 1, number 3) becomes 7, which group 0 reads
        norm(11, "enter.1") + norm(7, "depthwise.1"),
        at(11, "enter.0.weight") + at(7, "depthwise.0.weight") + at(np.s_[:4, 7], "leave.0.weight"),
    ),
    ("channel_shuffle", norm(11, "enter.1"), at(7, "depthwise.0.weight")),
    ("mobilenet_v2", norm(5, "blocks.0.expand.1"), at(5, "blocks.0.depthwise.0.weight")),
    ("bottleneck", norm(3, "blocks.0.spatial.1"), reads(3, "blocks.0.widen.0")),
    ("layer_scale", norm(3, "stem", "down"), at(3, "gamma") + reads(3, "up", "head")),
    ("in_place", norm(2, "stem.1", "body.1"), reads(2, "body.0", "head")),
    ("squeeze_unsqueeze", norm(2, "conv"), norm(2, "gate") + reads(2, "gate", "head")),
    ("interpolate", norm(2, "stem", "small"), reads(2, "small", "head")),
    ("prelu", norm(2, "0"), at(2, "1.weight") + reads(2, "2")),
    ("batch_norm_of_batch", norm(2, "1"), at(2, "0.weight") + reads(2, "3")),
    ("instance_norm", norm(2, "1"), at(2, "0.weight") + reads(2, "3")),
    ("batch_norm_mlp", norm(2, "5"), at(2, "3.weight") + reads(2, "7")),
    ("matmul_parameter", (("second", np.s_[:, 2]), ("shift", 2)), at(np.s_[:, 2], "last")),
    ("einsum_convolution", at(2, "first"), at(np.s_[:, 2], "second")),
    ("embedding_mean", at(np.s_[:, 2], "embed.weight"), reads(2, "hidden")),
    ("data_dependent_size", norm(2, "stem"), reads(2, "head")),
    ("mixer", norm(2, "places_up"), reads(2, "places_down")),
    ("gram_matrix", norm(2, "stem.1"), reads([*range(12, 18), *range(2, 36, 6)], "head")),
    ("unfold_matmul", norm(2, "stem.1"), at(np.s_[:, 18:27], "weight")),
    *(
        (name, norm(VALUES, f"{prefix}qkv"), norm(QKV_HEAD, f"{prefix}qkv") + reads(HEAD, f"{prefix}proj"))
        for name, prefix in (
            ("timm_reshape", "attention."),
            ("timm_constants", "attention."),
            ("fused_attention", "attention."),
            ("vision_transformer", "blocks.1.attention."),
        )
    ),
    *(
        (name, norm(HEAD, "attention.value"), norm(HEAD, "attention.query") + reads(HEAD, "attention.out"))
        for name in ("hugging_face_attention", "einsum_attention", "rotary_attention", "language_model")
    ),
    *(
        (
            name,
            norm(slice(6, 12), "attention.value"),
            at(slice(6, 12), "attention.key.weight")
            + norm(slice(12, 24), "attention.query")
            + reads(slice(12, 24), "attention.out"),
        )
        for name in ("grouped_query_repeat", "grouped_query_expand")
    ),
    ("rotary_attention", norm([13, 16], "attention.query"), norm([13, 16], "attention.key")),
    *(
        (name, at(VALUES, *in_proj), at(QKV_HEAD, *in_proj[:1]) + reads(HEAD, f"{prefix}out_proj"))
        for name, prefix in (
            ("multihead_attention", "attention.attention."),
            ("transformer_encoder", "encoder.layers.0.self_attn."),
        )
        for in_proj in [(f"{prefix}in_proj_weight", f"{prefix}in_proj_bias")]
    ),
    (
        "multihead_across",
        (("attention.v_proj_weight", HEAD), ("attention.in_proj_bias", VALUES)),
        at(HEAD, "attention.q_proj_weight", "attention.k_proj_weight") + reads(HEAD, "attention.out_proj"),
    ),
    ("positional_embedding", (*norm(3, "embed"), ("pos", np.s_[..., 3])), reads(3, "mix")),
    ("lstm_head", gates(18), (*gates([2, 10, 26]), ("recurrent.weight_hh_l0", np.s_[:, 2]), *reads(2, "head"))),
    # the last output of the backward direction is its first step, so its hidden weights are never heard at all
    ("lstm_bidirectional", gates(21, "l0_reverse"), reads(13, "head")),
    ("lstm_state", gates(13, "l0_reverse"), gates([1, 7, 19], "l0_reverse") + reads(7, "head")),
    ("lstm_two_layers", gates(17), gates([1, 9, 25]) + at(np.s_[:, 1], "recurrent.weight_ih_l1")),
    ("gru_head", gates(19), (*gates([3, 11]), ("recurrent.weight_hh_l0", np.s_[:, 3]), *reads(3, "head"))),
    (
        "gru_cell",
        (*cell(14), ("start", np.s_[:, 2])),
        (*cell([2, 8]), ("cell.weight_hh", np.s_[:, 2]), *reads(2, "head")),
    ),
    ("tied_decoder", at(np.s_[:, 3], "embed.weight"), reads(3, "up") + norm(3, "down")),
    ("tied_autoencoder", norm(2, "outer"), (*reads(2, "inner"), ("shift", 2))),
    ("twin_linear", norm(3, "left"), reads([3, 11], "head")),
    ("swiglu", norm(2, "gate"), norm(2, "up") + reads(2, "down")),
    ("swiglu", norm(2, "up"), norm(2, "gate") + reads(2, "down")),
    ("bilinear", norm(2, "left"), at(np.s_[:, 2], "pair.weight")),
    ("bilinear", norm(3, "right"), at(np.s_[:, :, 3], "pair.weight")),
)  # fmt: skip

# case, what is silenced, what is still heard: why these units are not free, or need more than a cut
STILL_HEARD: tuple[tuple[str, tuple[Part, ...], tuple[Part, ...]], ...] = (
    ("sigmoid_conv", norm(2, "0"), reads(2, "2")),  # a constant: belongs into the bias
    ("sigmoid_padded_conv", norm(2, "0"), reads(2, "2")),
    ("softmax_channels", norm(2, "stem.1"), reads(2, "body")),
    ("cumulative_sum", norm(2, "stem.1"), reads(2, "body")),
    ("per_channel_shift", norm(2, "stem.1"), reads(2, "body")),
    ("cosine_head", norm(2, "features"), at(np.s_[:, 2], "directions")),
    ("batch_norm_plain", norm(2, "0"), reads(2, "3")),
    (
        "weight_norm",  # the length of what reads it
        at(2, "0.parametrizations.weight.original0", "0.bias"),
        at(np.s_[:, 2], "2.parametrizations.weight.original1"),
    ),
    ("mixer", norm(2, "embed", "down"), reads(2, "up")),
    ("random_numbers", norm(2, "stem.1"), reads(2, "body")),
    ("gru_cell", cell(14), reads(2, "head")),  # the learned start is left
    ("mobilenet_v2", norm(5, "blocks.0.expand.1"), reads(5, "blocks.0.project.0")),  # the shift behind is left
)  # fmt: skip


def double(case: Case) -> tuple[nn.Module, Any]:
    model = case.build().eval().double()
    inputs = tree_map(lambda x: x.double() if x.is_floating_point() else x, (case.args(), case.kwargs()))
    return model, inputs


def run(model: nn.Module, inputs: Any) -> Tensor:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for the case that draws random numbers
        return torch.cat([out.flatten() for out in tree_leaves(model(*inputs[0], **inputs[1]))])


def fill(model: nn.Module, parts: tuple[Part, ...], *, silent: bool, seed: int = 0) -> None:
    values = dict(model.named_parameters(remove_duplicate=False))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, index in parts:
            if name not in values and name.endswith("bias"):
                continue  # a layer without one
            part = values[name][index]
            noise = torch.randn(part.shape, generator=generator, dtype=torch.float64)
            values[name][index] = torch.zeros_like(part) if silent else part + noise


def ids(claims: tuple[tuple[str, Any, Any], ...]) -> list[str]:
    return [f"{name}-{number}" for number, (name, *_) in enumerate(claims)]


@pytest.mark.parametrize(("name", "silenced", "unheard"), CLAIMS, ids=ids(CLAIMS))
def test_nobody_hears_what_goes_with_a_silent_unit(name, silenced, unheard):
    model, inputs = double(BY_NAME[name])
    dense = run(model, inputs)
    for part in unheard:
        model, inputs = double(BY_NAME[name])
        fill(model, (part,), silent=False)
        if "bias" not in part[0]:  # a key's bias, for one, never matters behind a softmax
            assert (run(model, inputs) - dense).abs().max() > 1e-6, f"{part} is not heard even when the unit speaks"
    fill(model, silenced, silent=True)
    masked = run(model, inputs)
    assert (masked - dense).abs().max() > 1e-6, "silencing changes nothing, so this claim says nothing"
    for seed in range(2):
        fill(model, unheard, silent=False, seed=seed)
        torch.testing.assert_close(run(model, inputs), masked, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "silenced", "heard"), STILL_HEARD, ids=ids(STILL_HEARD))
def test_a_silent_unit_that_is_heard_all_the_same(name, silenced, heard):
    model, inputs = double(BY_NAME[name])
    fill(model, silenced, silent=True)
    masked = run(model, inputs)
    fill(model, heard, silent=False)
    assert (run(model, inputs) - masked).abs().max() > 1e-6


def test_rms_normalisation_with_fewer_units_is_the_same_with_scale_and_eps_corrected():
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(4, 10, generator=generator, dtype=torch.float64) for _ in range(2))
    kept = torch.tensor([0, 1, 3, 4, 6, 8, 9])
    masked = torch.zeros_like(x)
    masked[:, kept] = x[:, kept]
    dense = nn.functional.rms_norm(masked, (10,), weight[0], 0.1)
    ratio = 10 / len(kept)
    small = nn.functional.rms_norm(x[:, kept], (len(kept),), weight[0, kept] * ratio**0.5, 0.1 * ratio)
    torch.testing.assert_close(small, dense[:, kept], rtol=1e-12, atol=1e-12)


def test_weight_normalisation_with_fewer_inputs_is_the_same_with_its_magnitude_corrected():
    model, inputs = double(BY_NAME["weight_norm"])
    weight, kept = model[2].weight.detach(), torch.tensor([0, 1, 3, 4, 6, 7])
    g, v = (getattr(model[2].parametrizations.weight, f"original{i}").detach() for i in (0, 1))
    lengths = [value.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for value in (v[:, kept], v)]
    small = torch._weight_norm(v[:, kept], g * lengths[0] / lengths[1], 0)
    torch.testing.assert_close(small, weight[:, kept], rtol=1e-12, atol=1e-12)


def test_fewer_features_of_every_head_are_the_same_with_the_queries_corrected():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, 7, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    kept = torch.tensor([0, 2, 3, 5])
    mask = torch.zeros(6, dtype=torch.float64)
    mask[kept] = 1
    dense = nn.functional.scaled_dot_product_attention(query * mask, key * mask, value)
    small = nn.functional.scaled_dot_product_attention(query[..., kept] * (4 / 6) ** 0.5, key[..., kept], value)
    torch.testing.assert_close(small, dense, rtol=1e-12, atol=1e-12)
