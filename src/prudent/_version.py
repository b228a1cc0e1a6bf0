"""The version, in a file of its own so that `prudent --version` and the build read it without importing anything."""

__version__ = "0.1.0"
