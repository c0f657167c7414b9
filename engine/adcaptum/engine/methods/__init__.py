"""The attribution methods, one paper a file, and the registry that finds them.

A class is a method of the registry if its traits have the name of its file, so that a family's
mathematics may live beside its papers.
"""

from importlib import import_module
from pkgutil import walk_packages

from adcaptum.engine.vocabulary.method import Method, Traits

__all__ = ["METHODS"]


def _discover() -> dict[str, type[Method]]:
    found: dict[str, type[Method]] = {}
    for module_info in walk_packages(__path__, prefix=f"{__name__}."):
        module = import_module(module_info.name)
        name = module_info.name.rsplit(".", 1)[1]
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == module.__name__
            traits = vars(value).get("traits") if own else None
            if isinstance(traits, Traits) and traits.name == name:
                found[name] = value
    return dict(sorted(found.items()))


METHODS: dict[str, type[Method]] = _discover()
"""Every method by its name."""
