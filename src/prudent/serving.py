"""A certified cascade in use: the small network answers where its margin is large enough, the dense one elsewhere."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from prudent.cascades import CascadeCertificate, margins
from prudent.claims import same_network
from prudent.errors import BadInput
from prudent.identity import identity
from prudent.network import evaluating, logits_of
from prudent.types import Predictions


@dataclass(frozen=True, kw_only=True, eq=False)
class Cascade:
    """Two networks that answer as one.

    Args:
        small, dense: the networks, (batch, ...) -> logits (batch, classes).
        threshold: margin of the small network, in nats, from which on its answer counts.
    """

    small: nn.Module
    dense: nn.Module
    threshold: float

    def answer(self, inputs: Tensor) -> tuple[Tensor, Bool[np.ndarray, " n"]]:
        """Answer a batch; the dense network runs on what the small one does not serve, and on nothing else.

        Both networks run in evaluation mode, and are left in the mode that they were in.

        Args:
            inputs: (n, ...), n >= 1.

        Returns: logits (n, classes), each row of the network that answered, and whether that was the small one, (n,).
        Rows of two networks are each calibrated by themselves: compare decisions across them, not logits.

        Raises:
            BadInput: a network does not run, does not answer (n, classes), or their classes differ in number.
        """
        with torch.inference_mode(), evaluating(self.small), evaluating(self.dense):
            logits = logits_of(self.small, inputs).float()
            # the same numbers and the same comparison that the threshold was certified with
            split = Predictions(logits=logits.cpu().numpy(), split="test")
            served = margins(split) >= self.threshold
            rest = torch.from_numpy(np.flatnonzero(~served)).to(logits.device)
            if not len(rest):
                return logits, served
            others = logits_of(self.dense, inputs[rest]).float()
            if others.shape[1:] != logits.shape[1:]:
                raise BadInput(
                    "both networks of a cascade have the same classes; the small one answers "
                    f"{logits.shape[1]} and the dense one {others.shape[1]}"
                )
            return logits.index_copy(0, rest, others), served


def serve(certificate: CascadeCertificate, small: nn.Module, dense: nn.Module) -> Cascade:
    """The cascade that a certificate allows.

    Args:
        certificate: of exactly these networks, with a certified threshold.
        small, dense: the networks. Not changed.

    Raises:
        BadInput: nothing was certified, or the certificate is of other networks.
    """
    if certificate.selected is None:
        raise BadInput("no threshold of this cascade was certified: let the dense network answer alone")
    for role, network, name in (("small", small, certificate.small), ("dense", dense, certificate.dense)):
        own = identity(network)
        if name and not same_network(name, own):
            raise BadInput(
                f"the certificate is of another {role} network ({name[:12]}, this one is {own[:12]}): give the one "
                "that it was made with, or certify this one"
            )
    return Cascade(small=small, dense=dense, threshold=certificate.thresholds[certificate.selected])
