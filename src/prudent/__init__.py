"""prudent: prune a neural network, and prove what it lost.

The public names are listed in `__all__` and loaded when they are first used, so that importing prudent, or asking its
command line for help, never loads torch. No public function shares its name with a file: `import prudent.x` would
otherwise put the file in the function's place.
"""

import importlib
from typing import TYPE_CHECKING, Any

from prudent._version import __version__

if TYPE_CHECKING:
    from prudent import bounds, data, models, ood, scores
    from prudent.batches import Batches
    from prudent.certificates import verify, write_certificate
    from prudent.certification import certify
    from prudent.errors import PrudentError
    from prudent.evaluation import evaluate
    from prudent.loss_tables import losses
    from prudent.low_rank.factorisation import Factorised, factorise
    from prudent.masks import Mask
    from prudent.networks import load, save
    from prudent.prediction import predict
    from prudent.pruning import Pruned, prune
    from prudent.splits import Data
    from prudent.studies import study
    from prudent.surgery.shrinking import Shrunk, shrink
    from prudent.training import train
    from prudent.types import Certificate, Losses, Metric, Predictions

__all__ = [
    "Batches",
    "Certificate",
    "Data",
    "Factorised",
    "Losses",
    "Mask",
    "Metric",
    "Predictions",
    "PrudentError",
    "Pruned",
    "Shrunk",
    "__version__",
    "bounds",
    "certify",
    "data",
    "evaluate",
    "factorise",
    "load",
    "losses",
    "models",
    "ood",
    "predict",
    "prune",
    "save",
    "scores",
    "shrink",
    "study",
    "train",
    "verify",
    "write_certificate",
]

_HOME = {
    "Batches": "prudent.batches",
    "Certificate": "prudent.types",
    "Data": "prudent.splits",
    "Factorised": "prudent.low_rank.factorisation",
    "Losses": "prudent.types",
    "Mask": "prudent.masks",
    "Metric": "prudent.types",
    "Predictions": "prudent.types",
    "PrudentError": "prudent.errors",
    "Pruned": "prudent.pruning",
    "Shrunk": "prudent.surgery.shrinking",
    "certify": "prudent.certification",
    "evaluate": "prudent.evaluation",
    "factorise": "prudent.low_rank.factorisation",
    "load": "prudent.networks",
    "losses": "prudent.loss_tables",
    "predict": "prudent.prediction",
    "prune": "prudent.pruning",
    "save": "prudent.networks",
    "shrink": "prudent.surgery.shrinking",
    "study": "prudent.studies",
    "train": "prudent.training",
    "verify": "prudent.certificates",
    "write_certificate": "prudent.certificates",
}
"""Public name -> the file that defines it; the other names are folders of methods."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the name stands for)
    """Load a public name from its file."""
    if name not in __all__:
        raise AttributeError(f"module 'prudent' has no attribute {name!r}")
    if name in _HOME:
        globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return globals()[name]
    return importlib.import_module(f"prudent.{name}")


def __dir__() -> list[str]:
    """The public names, for completion."""
    return list(__all__)
