"""The version of snnir, below everything that writes it into files."""

__all__ = ["__version__"]

__version__ = "0.1.0"
