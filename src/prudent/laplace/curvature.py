"""A network's answers as functions of some of its weights: Jacobians example by example, and sums of their squares."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from prudent.batches import Batch, check_purpose
from prudent.errors import BadInput, reason
from prudent.network import evaluating, logits_of, seeded
from prudent.observation import labelled
from prudent.side_effects import attributes_kept

ELEMENTS = 2**25
"""About so many numbers may the Jacobians of one chunk of examples have."""

APART = 1e-3
"""How far, of the largest logit, an example by itself and in its batch may lie apart."""

Likelihood = Literal["classification", "regression"]


def linearised(model: nn.Module, subnetwork: Mapping[str, Tensor], inputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """What the network answers and how that depends on the weights of a subnetwork, in chunks of examples.

        J[n, c, i] = d logit[c] of example n / d weight i

    Args:
        model: in whichever mode; run in evaluation mode and left as it was.
        subnetwork: parameter name -> flat indices.
        inputs: (n, ...) on its device.

    Returns: (logits (chunk, classes), J (chunk, classes, weights)) for each chunk, in float64.

    Raises:
        BadInput: the network cannot be differentiated example by example, or to an example answers what depends on the
            others in its batch.
    """
    check_supported(model)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    fixed = parameters | dict(model.named_buffers())
    flat = {name: parameters[name].reshape(-1) for name in subnetwork}
    places = {name: indices.to(flat[name].device) for name, indices in subnetwork.items()}
    theta = torch.cat([flat[name][where] for name, where in places.items()])
    sizes = [len(where) for where in places.values()]

    def answer(weights: Tensor, one: Tensor) -> Tensor:
        parts = torch.split(weights, sizes)
        changed = {
            name: flat[name].index_copy(0, where, part).reshape(parameters[name].shape)
            for (name, where), part in zip(places.items(), parts, strict=True)
        }
        given: Tensor = functional_call(model, fixed | changed, (one.unsqueeze(0),))
        return given.squeeze(0)

    with evaluating(model), attributes_kept(model), seeded(0):
        with torch.no_grad():
            expected = logits_of(model, inputs)
        wide = sum(value.numel() for value in flat.values())
        for start in range(0, len(inputs), chunk := max(1, ELEMENTS // (expected.shape[1] * wide))):
            some = inputs[start : start + chunk]
            try:
                slopes = vmap(jacrev(answer), in_dims=(None, 0))(theta, some)
                alone = vmap(answer, in_dims=(None, 0))(theta, some)
            except Exception as error:
                raise BadInput(
                    f"a Laplace approximation differentiates example by example (torch.func), which "
                    f"{type(model).__name__} does not allow: {reason(error)}; use the last layer, or replace the layer"
                ) from error
            _check_alone(model, alone, expected[start : start + chunk])
            yield alone.detach().double(), slopes.detach().double()


def check_supported(model: nn.Module) -> None:
    """Refuse layers whose answer to an example is no function of that example and the weights.

    Raises:
        BadInput: says which layer, and what to do.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            raise BadInput(
                f"a Laplace approximation cannot differentiate {name!r} ({type(module).__name__}) by example"
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.track_running_stats:
            raise BadInput(
                f"layer {name!r} normalises by its batch, also in evaluation mode: a Laplace approximation needs "
                "running statistics (track_running_stats=True)"
            )


def _check_alone(model: nn.Module, alone: Tensor, expected: Tensor) -> None:
    if not bool((alone - expected).abs().max() <= APART * expected.abs().max().clamp(min=1e-12)):
        raise BadInput(
            f"{type(model).__name__} says something else to an example by itself than in its batch, so its answers "
            "have no Jacobian by example"
        )


def observations(
    model: nn.Module, batches: Iterable[Batch], subnetwork: Mapping[str, Tensor], *, likelihood: Likelihood
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Answers, Jacobians and true values of training examples, in chunks and float64.

    Raises:
        BadInput: no examples, none with labels, labels that do not fit the likelihood; or as `linearised`.
        SplitMisuse: examples of the certification or test split.
    """
    check_purpose(batches, purpose="fitting a Laplace approximation", allowed=("train", "validation"))
    for inputs, truth in labelled(batches, model, score="laplace"):
        done = 0
        for answers, slopes in linearised(model, subnetwork, inputs):
            some = truth[done : done + len(answers)]
            done += len(answers)
            _check_truth(some, answers, likelihood)
            yield answers, slopes, some


def _check_truth(truth: Tensor, answers: Tensor, likelihood: Likelihood) -> None:
    if likelihood == "regression":
        if truth.shape != answers.shape or not truth.is_floating_point():
            raise BadInput(
                f"regression needs targets of shape {tuple(answers.shape)}, floating point; got {tuple(truth.shape)} "
                f"of {truth.dtype}"
            )
    elif truth.is_floating_point() or int(truth.min()) < 0 or int(truth.max()) >= answers.shape[1]:
        raise BadInput(f"labels are whole numbers in 0 .. {answers.shape[1] - 1}, the network's classes")


def root_of_hessian(answers: Tensor, *, likelihood: Likelihood, noise: float) -> Tensor:
    """A root R (n, classes, classes) of the Hessian of each example's loss with respect to its answers: H = R^T R.

    classification: H = diag(p) - p p^T, R = diag(sqrt p) (I - 1 p^T);    regression: H = I / noise
    """
    if likelihood == "regression":
        same = torch.eye(answers.shape[1], dtype=answers.dtype, device=answers.device) / math.sqrt(noise)
        return same.expand(len(answers), -1, -1)
    p = torch.softmax(answers, dim=1)
    eye = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
    root: Tensor = p.sqrt().unsqueeze(2) * (eye - p.unsqueeze(1))
    return root


def diagonal_curvature(model: nn.Module, batches: Iterable[Batch], subnetwork: Mapping[str, Tensor]) -> Tensor:
    """Diagonal of the generalised Gauss-Newton matrix of the summed cross-entropy: (weights,), float64."""
    total: Tensor | None = None
    for answers, slopes, _ in observations(model, batches, subnetwork, likelihood="classification"):
        rooted = root_of_hessian(answers, likelihood="classification", noise=1.0) @ slopes
        part = (rooted**2).sum(dim=(0, 1))
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 (`labelled` refuses to be empty)
    return total
