"""(network, batches) -> Predictions: the only bridge from networks to statistics."""

import hashlib
import operator
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from prudent.batches import Batch, Batches
from prudent.dropout import Sampling, announce, check_present, check_rate, sampler
from prudent.dropout_sources import drops
from prudent.errors import BadInput, SplitMisuse
from prudent.functional_dropout import Dropouts, calls_itself
from prudent.identity import identity
from prudent.network import evaluating, logits_of, seeded
from prudent.seeds import stream
from prudent.types import Predictions, Split

FEW = 16
"""So many examples show whether a network can be sampled cheaply."""


def predict(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    split: Split | None = None,
    mc_samples: int | None = None,
    mc_dropout: float | None = None,
    seed: int = 0,
) -> Predictions:
    """Run a network once over all batches, in evaluation mode.

    Args:
        model: answers logits (n, classes). Not changed.
        batches: inputs with labels, or inputs alone; read once.
        split: what the examples are for; may be left out for Batches that know it, and must not contradict them.
        mc_samples: under Monte-Carlo dropout, the number of samples; None for the plain answers. Only dropout is
            active then, also that inside of attention and recurrent layers, and functional dropout where a trial shows
            that training mode does nothing else there (a warning names the modules where it does); batch
            normalisation, stochastic depth and everything else stay in evaluation mode. What comes before the first
            dropout is computed once (see `prudent.dropout.sampler`); where that cannot be, a warning says why.
        mc_dropout: for a network without dropout, the rate of one that is put before its head, in (0, 1).
        seed: for dropout; the global generators are not touched. Its samples are the same for the same seed, batches,
            version of prudent and machine.

    Returns: logits (n, classes), or (mc_samples, n, classes), with fingerprints of examples and network. Under dropout
    the network's is another one: what is certified of the samples is not true of the network alone.

    Raises:
        BadInput: no batches, some with and some without labels, a network that does not run on them or does not answer
            one row of logits for each input, NaN or infinite logits, labels that are no integers or outside the
            classes, mc_samples < 2; a network without dropout, or with one that does nothing, where samples are
            asked for; mc_dropout without mc_samples, or for a network that has dropout.
        SplitMisuse: `split` contradicts the batches, or neither names one.

    Source: Gal, Ghahramani 2016, "Dropout as a Bayesian Approximation", arXiv:1506.02142, for mc_samples.
    """
    split = split_of(batches, split)
    _check_dropout(model, mc_samples, mc_dropout)
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    sampling: Sampling | None = None
    with torch.inference_mode(), evaluating(model), seeded(stream("dropout samples", seed)):
        for batch in batches:
            inputs, truth = parted(batch)
            if mc_samples is not None and not len(inputs):
                raise BadInput(f"a batch of the {split!r} split is empty: dropout samples need at least one example")
            labels += [] if truth is None else [truth]
            inputs = inputs.to(device)
            if mc_samples is not None and sampling is None:
                sampling = _sampling(model, inputs, mc_dropout)
            answer = logits_of(model, inputs) if sampling is None else sampling.draw(inputs, mc_samples or 0)
            logits.append(answer.float().cpu())
    if not logits:
        raise BadInput(f"there is nothing to predict: the batches of the {split!r} split are empty")
    if labels and len(labels) != len(logits):
        raise BadInput("some batches have labels and some have none")
    widths = {answer.shape[-1] for answer in logits}
    if len(widths) > 1:
        raise BadInput(f"a network answers as many logits for every batch; it answered {sorted(widths)}")
    joined = torch.cat(logits, dim=-2).numpy()
    if sampling is not None and not sampling.certain and (joined == joined[0]).all():
        raise BadInput("dropout is switched on, yet all samples are the same: does it act on the way to the output?")
    return Predictions(
        logits=joined,
        labels=torch.cat(labels).cpu().numpy().astype(np.int64) if labels else None,
        split=split,
        data=batches.data if isinstance(batches, Batches) else "",
        model=identity(model) if mc_samples is None else _sampled_name(model, mc_samples, mc_dropout, seed),
    )


def parted(batch: object) -> tuple[Tensor, Tensor | None]:
    """Inputs and labels of one batch, or a refusal: labels are never rounded to classes."""
    given = list(batch) if isinstance(batch, (tuple, list)) else [batch]
    parts = [part for part in given if isinstance(part, Tensor)]
    if len(given) not in (1, 2) or len(parts) < len(given):
        came = ", ".join(type(part).__name__ for part in given)
        raise BadInput(f"a batch is a tensor of inputs, or such inputs with a tensor of labels; got {came}")
    inputs, truth = parts[0], parts[1] if len(parts) == 2 else None
    if truth is not None and (truth.is_floating_point() or truth.is_complex() or truth.dtype == torch.bool):
        raise BadInput(f"labels are integers, one class for each input; got {truth.dtype}: labels.long(), if they are")
    if truth is not None and truth.shape != inputs.shape[:1]:
        raise BadInput(f"{len(inputs)} inputs need labels of shape ({len(inputs)},); got {tuple(truth.shape)}")
    return inputs, truth


def split_of(batches: Iterable[Batch], split: Split | None) -> Split:
    """What these examples are for, as the caller or the batches themselves say.

    Raises:
        SplitMisuse: the two contradict each other, or neither says it.
    """
    own = batches.split if isinstance(batches, Batches) else None
    if own is not None and split is not None and own != split:
        raise SplitMisuse(f"these batches are of the {own!r} split; they cannot be predicted as split={split!r}")
    known = own or split
    if known is None:
        raise SplitMisuse('predictions must say what their examples are for: predict(..., split="test")')
    return known


def _sampled_name(model: nn.Module, mc_samples: int, mc_dropout: float | None, seed: int) -> str:
    """Fingerprint of a network under dropout, which decides otherwise than the network alone."""
    about = f"dropout\n{identity(model)}\n{int(mc_samples)}\n{mc_dropout}\n{seed}"
    return hashlib.sha256(about.encode()).hexdigest()


def _sampling(model: nn.Module, inputs: Tensor, mc_dropout: float | None) -> Sampling:
    few = inputs[:FEW].clone()  # a network may write over them
    with seeded(0):  # what is tried here must not move what is drawn later
        found = sampler(model, few, rate=mc_dropout)
        if found.note:
            logits_of(model, inputs.clone())  # a network that does not run is refused in its own words
    announce(found)
    return found


def _check_dropout(model: nn.Module, mc_samples: int | None, mc_dropout: float | None) -> None:
    if mc_samples is None:
        if mc_dropout is not None:
            raise BadInput("mc_dropout is the rate of dropout samples: say how many with mc_samples=...")
        return
    if not hasattr(mc_samples, "__index__"):
        raise BadInput(f"mc_samples is a whole number of 2 or more; got {mc_samples!r}")
    if operator.index(mc_samples) < 2:
        raise BadInput(f"dropout samples are compared with each other: mc_samples must be 2 or more; got {mc_samples}")
    if mc_dropout is not None:
        check_rate(mc_dropout)
    found = Dropouts(tuple(module for module in model.modules() if drops(module)))
    if mc_dropout is not None or not calls_itself(model):  # code of its own may call functions of dropout: it is tried
        check_present(model, found, mc_dropout)
