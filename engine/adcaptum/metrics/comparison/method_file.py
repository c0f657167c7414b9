"""Methods of a caller's file."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from adcaptum.attr.errors import InvalidInput
from adcaptum.engine.vocabulary.method import Method, Traits


def methods_of(path: Path) -> dict[str, type[Method]]:
    """Imports a file; returns the methods that it defines, by the names of their traits.

    The file's code runs, as any import's.

    Raises:
        InvalidInput: If there is no such file, or no method in it.
    """
    if not path.is_file():
        raise InvalidInput("methods", str(path), "a file that exists")
    name = str(path.resolve())
    spec = spec_from_file_location(name, path)
    assert spec is not None, "its name ends in .py"
    assert spec.loader is not None, "it is a file of Python's"
    module = module_from_spec(spec)
    # Dataclasses look up their annotations there, also later.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    found = {}
    for value in vars(module).values():
        own = isinstance(value, type) and value.__module__ == module.__name__
        traits = vars(value).get("traits") if own else None
        if isinstance(traits, Traits):
            found[traits.name] = value
    if not found:
        allowed = "a file with a dataclass that has traits, a flow and rows"
        raise InvalidInput("methods", str(path), allowed)
    return found
