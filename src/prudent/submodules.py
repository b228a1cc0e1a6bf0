"""The modules of a network under all their paths, told faster than torch does."""

from torch import nn

from prudent.errors import CannotPrune

DEEPEST = 500
"""Levels of modules within modules: far more than any network has that does not contain itself."""


def modules_by_path(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Each module of a network with each of its paths, parents before children, in torch's order.

    The same as `list(model.named_modules(remove_duplicate=False))`, whose nested generators hand each module through
    all levels above it: a large part of the time of cutting a known network again.

    Args:
        model: any network; its own path is "".

    Raises:
        CannotPrune: a module contains itself, so that it has no end of paths.
    """
    found: list[tuple[str, nn.Module]] = []
    waiting: list[tuple[str, nn.Module, int]] = [("", model, 0)]
    while waiting:
        path, module, depth = waiting.pop()
        if depth > DEEPEST:
            raise CannotPrune(
                f"a module of {type(model).__name__} contains itself: hold the outer one in a list instead"
            )
        found.append((path, module))
        prefix = f"{path}." if path else ""
        waiting += [(prefix + key, own, depth + 1) for key, own in reversed(module._modules.items()) if own is not None]
    return found
