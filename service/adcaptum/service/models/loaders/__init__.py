"""The loaders: one file for each kind of model, and the registry that finds them.

A class is a loader of the registry if its `name` is the name of its file, so that helpers may
stand beside it. A new kind is a new file and no other change.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Final

from adcaptum.service.models.loaders.loader import Loader

__all__ = ["LOADERS", "Loader"]


def _discover() -> Mapping[str, Loader]:
    found: dict[str, Loader] = {}
    for info in iter_modules(__path__, prefix=f"{__name__}."):
        module = import_module(info.name)
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == info.name
            if own and vars(value).get("name") == info.name.rpartition(".")[2]:
                found[info.name.rpartition(".")[2]] = value()
    return MappingProxyType(dict(sorted(found.items())))


LOADERS: Final = _discover()
"""Every loader by its name, as `loader` in `model.toml` has it."""
