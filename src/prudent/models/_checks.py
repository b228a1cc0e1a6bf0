"""What every architecture demands of its input, before anything is built."""

from collections.abc import Sequence

from prudent.errors import BadInput, UnknownName


def check_classes(model: str, classes: int) -> None:
    """Refuse a network without logits."""
    if classes < 1:
        raise BadInput(f"model {model!r} needs at least 1 class; got {classes}")


def check_shape(model: str, shape: Sequence[int]) -> None:
    """Refuse an input without elements."""
    if len(shape) == 0 or min(shape) < 1:
        raise BadInput(f"model {model!r} needs the shape of one input, sizes of at least 1; got {tuple(shape)}")


def check_image(model: str, shape: Sequence[int], *, smallest: int = 1, instead: str = "") -> tuple[int, int, int]:
    """The shape as (channels, height, width), or a refusal.

    Args:
        model: who asks.
        shape: of one input.
        smallest: least height and width of which anything is left after all poolings and strides.
        instead: what to do about a small image, besides enlarging it.
    """
    check_shape(model, shape)
    if len(shape) != 3:
        raise BadInput(f"model {model!r} needs images of shape (channels, height, width); got {tuple(shape)}")
    channels, height, width = shape
    if min(height, width) < smallest:
        advice = f"enlarge or pad the images{', or ' + instead if instead else ''}"
        raise BadInput(
            f"model {model!r} needs images of at least {smallest} x {smallest}; got {tuple(shape)}: {advice}"
        )
    return channels, height, width


def check_sizes(model: str, what: str, sizes: Sequence[int], *, count: int | None = None) -> None:
    """Refuse layers without units, and another number of layers than `count` (None: any number)."""
    if count is not None and len(sizes) != count:
        raise BadInput(f"model {model!r} needs {count} {what}; got {len(sizes)}: {tuple(sizes)}")
    if any(size < 1 for size in sizes):
        raise BadInput(f"model {model!r} needs {what} of at least 1; got {tuple(sizes)}")


def check_rate(model: str, what: str, rate: float) -> None:
    """Refuse a dropout rate outside [0, 1)."""
    if not 0 <= rate < 1:
        raise BadInput(f"model {model!r} needs {what} in [0, 1); got {rate}")


def check_depth(model: str, depth: int, *, step: int, offset: int, usual: str) -> int:
    """How many blocks each stage has, from depth = step * blocks + offset with blocks >= 1, or a refusal."""
    blocks, rest = divmod(depth - offset, step)
    if rest or blocks < 1:
        raise BadInput(f"model {model!r} needs a depth of {step} n + {offset} ({usual}); got {depth}")
    return blocks


def check_word(model: str, what: str, word: str, words: Sequence[str]) -> None:
    """Refuse a word that is not among those that an option knows."""
    if word not in words:
        raise UnknownName.of(f"{what} of model {model!r}", word, words)
