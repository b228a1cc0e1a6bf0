"""Attacks of the foolbox package on networks of prudent: an optional extra, `pip install prudent[foolbox]`."""

import copy
import importlib
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from prudent.attacks import Attacked, Box, better_of, check_attack, margins_of
from prudent.errors import BadInput, UnknownName, reason
from prudent.network import evaluating, logits_of, seeded

SLACK = 1e-4
"""By which share of the radius a found input may lie outside of the ball: what float32 makes of a projection."""


def foolbox_attack(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    attack: str = "LinfDeepFoolAttack",
    radius: float = 8 / 255,
    options: Mapping[str, Any] | None = None,
    box: Box = (0.0, 1.0),
    seed: int = 0,
) -> Attacked:
    """What an attack of foolbox finds within a radius, in the norm that its name says.

    Each example keeps the larger margin of the given input and of the found one, so the attack never finds less than
    nothing. That the found ones are in the ball and in the box is checked here, and the margins are computed here.

    Args:
        model: answers logits (n, classes). Not changed: foolbox gets a copy.
        inputs: (n, ...) floating point within the box.
        labels: (n,) true classes.
        attack: name of a class of foolbox.attacks that starts with its norm: Linf..., L2....
        radius: of the ball, >= 0.
        options: of the attack's constructor, for example {"steps": 50}.
        box: smallest and largest value that an input may have.
        seed: of torch's random numbers meanwhile.

    Returns: the perturbed inputs and the margins there.

    Raises:
        BadInput: foolbox is not installed, as `fgsm`, an attack whose norm is neither, options that it does not take,
            an attack that fails or that leaves the ball.
        UnknownName: foolbox has no such attack.

    Source: Rauber et al. 2020, "Foolbox Native: Fast adversarial attacks to benchmark the robustness of machine
    learning models in PyTorch, TensorFlow, and JAX" (arXiv: none; of its forerunner: 1707.04131).
    """
    norm = "linf" if attack.lower().startswith("linf") else "l2" if attack.startswith("L2") else None
    if norm is None:
        raise BadInput(f"the attack's name starts with the norm of the radius, Linf or L2; got {attack!r}")
    check_attack(inputs, labels, radius, norm, box)
    foolbox = _foolbox()
    if not hasattr(foolbox.attacks, attack):
        raise UnknownName.of("attack of foolbox", attack, [name for name in dir(foolbox.attacks) if name[0] == "L"])
    inputs = inputs.detach()
    own = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    try:
        with seeded(seed), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = foolbox.PyTorchModel(own, bounds=box, device=inputs.device)
            found = getattr(foolbox.attacks, attack)(**dict(options or {}))(wrapped, inputs, labels, epsilons=radius)[1]
    except Exception as error:
        raise BadInput(f"{attack} of foolbox failed: {reason(error)}") from error
    _check_found(found, inputs, radius, norm, box, attack)
    with evaluating(model), torch.no_grad():
        clean, there = (margins_of(logits_of(model, x), labels) for x in (inputs, found))
    return better_of(Attacked(inputs=inputs, margins=clean), found, there)


def _foolbox() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports names that SciPy has moved
            return importlib.import_module("foolbox")
    except ImportError as error:
        raise BadInput(f"attacks of foolbox need foolbox: pip install 'prudent[foolbox]' ({error})") from error


def _check_found(found: Tensor, inputs: Tensor, radius: float, norm: str, box: Box, attack: str) -> None:
    change = (found - inputs).flatten(1)
    size = float((change.abs().amax(1) if norm == "linf" else change.norm(dim=1)).amax())
    low, high = (float(end) for end in found.aminmax())
    if not (size <= radius * (1 + SLACK) + 1e-6 and box[0] - 1e-6 <= low and high <= box[1] + 1e-6):
        raise BadInput(
            f"{attack} of foolbox left the ball: it changed inputs by up to {size:.4g} of radius {radius:.4g}, to "
            f"values from {low:.4g} to {high:.4g}"
        )
