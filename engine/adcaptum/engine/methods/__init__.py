"""The attribution methods, one paper a file, and the registry that finds them.

A class is a method of the registry if its traits have the name of its file, so that a family's
mathematics may live beside its papers.
"""

from difflib import get_close_matches
from importlib import import_module
from pkgutil import walk_packages
from typing import NoReturn

from adcaptum.engine.vocabulary.method import Method, Traits

__all__ = ["METHODS"]


class Registry(dict[str, type[Method]]):
    """Methods by name; an unknown name raises a KeyError with the nearest names."""

    def __missing__(self, name: str) -> NoReturn:
        """Raises an error about an unknown name."""
        near = get_close_matches(str(name)[:100].lower(), self, n=3, cutoff=0.5)
        hint = (
            f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are {list(self)}."
        )
        raise KeyError(f"there is no method {name!r}. {hint}")


def _discover() -> Registry:
    found: dict[str, type[Method]] = {}
    for module_info in walk_packages(__path__, prefix=f"{__name__}."):
        module = import_module(module_info.name)
        name = module_info.name.rsplit(".", 1)[1]
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == module.__name__
            traits = vars(value).get("traits") if own else None
            if isinstance(traits, Traits) and traits.name == name:
                found[name] = value
    return Registry(sorted(found.items()))


METHODS: Registry = _discover()
"""Every method by its name."""
