"""What the answers on shifted images are called."""

NOMINAL = "nominal"
"""The images as they are."""


def corrupted(name: str, severity: int) -> str:
    """The answers on images with a corruption."""
    return f"{name}-{severity}"


def noisy(size: float) -> str:
    """The answers on images with noise of a size."""
    return f"noise-{size!r}"
