"""Names of predictions on shifted images: as they are, under a corruption at a severity, with noise of a size."""

NOMINAL = "nominal"
"""The images as they are."""


def corrupted(name: str, severity: int) -> str:
    """Of a corruption: "fog-3"."""
    return f"{name}-{severity}"


def noisy(size: float) -> str:
    """Of noise: "noise-8.0"."""
    return f"noise-{size!r}"
