"""The attribution methods: one paper, one file. A file put here is in the registry."""

from importlib import import_module
from pkgutil import iter_modules

from adcaptum.engine.method import Method

__all__ = ["METHODS"]


def _discover() -> dict[str, type[Method]]:
    found: dict[str, type[Method]] = {}
    for module_info in iter_modules(__path__):
        module = import_module(f"{__name__}.{module_info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and value.__module__ == module.__name__
                and "name" in vars(value)
            ):
                found[vars(value)["name"]] = value
    return dict(sorted(found.items()))


METHODS: dict[str, type[Method]] = _discover()
"""Every method by its name."""
