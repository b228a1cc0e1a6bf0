"""The models of the zoo, by source and name, each with the smallest input that makes sense."""

import functools
import importlib.util
from typing import Any

import torch
from torch import nn


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


TORCHVISION = words("""
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169
    densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
    efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3
    maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
    regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
    regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf
    regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d
    shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b
    swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16
    vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
""")
TIMM = words("""
    resnet26d resnext50_32x4d res2net50_26w_4s regnetz_b16 efficientnet_lite0 mobilenetv3_small_100
    mobilenetv4_conv_small convnextv2_atto vit_tiny_patch16_224 deit_tiny_distilled_patch16_224
    swin_tiny_patch4_window7_224 beit_base_patch16_224 cait_xxs24_224 mixer_s32_224 resmlp_12_224 gmlp_ti16_224
    poolformer_s12 coat_tiny levit_128s mobilevit_xxs mobilevitv2_050 ghostnet_100 hrnet_w18_small dla34
    inception_v4 inception_resnet_v2 xception41 dm_nfnet_f0 repvgg_a0 vgg11_bn densenet121 dpn68 maxvit_pico_rw_256
    edgenext_xx_small davit_tiny pvt_v2_b0 twins_svt_small tnt_s_patch16_224 volo_d1_224 xcit_nano_12_p16_224
    crossvit_tiny_240 fastvit_t8 efficientformer_l1 hiera_tiny_224 selecsls42b cspresnet50
""")
MODELS = (*(f"torchvision/{name}" for name in TORCHVISION), *(f"timm/{name}" for name in TIMM))
"""Source and name."""
SIZES = {
    "inception_v3": 96, "inception_v4": 96, "inception_resnet_v2": 96, "maxvit_t": 224, "vit_b_16": 32,
    "vit_l_16": 32, "vit_h_14": 28, "vgg": 32, "maxvit_pico_rw_256": 256, "crossvit_tiny_240": 240, "coat": 224,
    "levit": 224, "volo": 224, "fastvit": 256, "efficientformer": 224, "hiera": 224, "twins": 224, "davit": 224,
    "regnet": 32,
}  # fmt: skip
"""Height and width by the beginning of a name; 64 for all others, and 224 for those with it in their name."""
BLOCKS = {"vit_h_14": 4, "vit_l_16": 8, "vit_l_32": 8}
"""Transformers of which only so many of their equal blocks are built: whole, they need more memory than is at hand."""
_KEPT: list[Any] = []


def size_of(name: str) -> int:
    """Height and width of the input of a model."""
    own = name.partition("/")[2]
    known = [size for start, size in SIZES.items() if own.startswith(start)]
    if name.startswith("timm/") and "_224" in own:
        return 224
    return known[0] if known else 64


def available(name: str) -> bool:
    """Whether the package that has it is installed."""
    return importlib.util.find_spec(name.partition("/")[0]) is not None


@functools.cache
def _torchvision() -> Any:
    """torchvision, also where its compiled operators do not fit the build of torch: no classifier uses them."""
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        import torchvision
    return torchvision


def build(name: str) -> nn.Module:
    """The model with random weights."""
    source, _, own = name.partition("/")
    if source == "timm":
        _torchvision()
        import timm

        return timm.create_model(own, pretrained=False)
    models = _torchvision().models
    if own in BLOCKS:
        return _fewer_blocks(models, own)
    options: dict[str, Any] = {"weights": None}
    if own in ("googlenet", "inception_v3"):
        options["init_weights"] = True
    if own.startswith("vit_"):
        options["image_size"] = size_of(name)
    return getattr(models, own)(**options)


def _fewer_blocks(models: Any, own: str) -> nn.Module:
    hidden, heads = {"h": (1280, 16), "l": (1024, 16)}[own.split("_")[1]]
    return models.VisionTransformer(
        image_size=size_of(f"torchvision/{own}"), patch_size=int(own.split("_")[2]), num_layers=BLOCKS[own],
        num_heads=heads, hidden_dim=hidden, mlp_dim=4 * hidden,
    )  # fmt: skip
