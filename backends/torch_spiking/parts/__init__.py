"""The parts of a machine program: what each op of it is in PyTorch, one file an op."""

from importlib import import_module
from pkgutil import iter_modules

from snnir.backends.torch_spiking.parts.base import Body, Building, Part, runs

for _module in iter_modules(__path__):  # every file beside this one enters its parts
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Body", "Building", "Part", "runs"]
