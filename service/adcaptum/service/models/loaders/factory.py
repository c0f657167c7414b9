"""The factory of a model: the class or function that `model.toml` names.

A model repository is as trusted as code: the server runs the Python in a model's `code/` folder.
What this file adds is that a declaration alone runs nothing else. A factory is a Python function or
a subclass of `nn.Module` that is defined in the model's own `code/` folder, in `adcaptum.zoo`, or
in a package that the operator allows.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Final, cast, get_type_hints

import torch
from torch import nn

from adcaptum.service.models.declaration import Declaration, DeclarationError
from adcaptum.service.models.loaders.loader import Source
from adcaptum.service.models.loaders.model_code import FOLDER, ModelCode
from adcaptum.service.models.loaders.weights import set_weights
from adcaptum.service.nearest import did_you_mean

ALWAYS_ALLOWED: Final = ("adcaptum.zoo",)
"""Packages from which every repository may take factories."""


class Factory:
    """A Python function or class that makes the module, and its weights."""

    name: ClassVar[str] = "factory"
    file: ClassVar[str] = "weights.safetensors"
    runs_code: ClassVar[bool] = False
    opaque: ClassVar[bool] = False

    def load(self, source: Source) -> nn.Module:
        """Returns what the factory makes, with the weights of the version."""
        module = build(source.declaration, source.folder, source.allowed)
        set_weights(module, source)
        return module


def build(declaration: Declaration, folder: Path, allowed: Sequence[str] = ()) -> nn.Module:
    """Imports the factory and calls it.

    Args:
        declaration: The model's declaration.
        folder: The model's folder.
        allowed: Packages beside `adcaptum.zoo` from which factories may come.

    Raises:
        DeclarationError: The factory does not exist or is not allowed, or it returned something
            else than a module.
        Exception: The factory's own errors.
    """
    made = _factory(declaration, folder, allowed)(**declaration.arguments)
    if isinstance(made, torch.jit.ScriptModule):
        raise _error(
            declaration,
            "returned a TorchScript module, whose layers and operations cannot be observed; "
            "return the nn.Module that it was made from",
        )
    if not isinstance(made, nn.Module):
        raise _error(declaration, f"returned {type(made).__name__}, not an nn.Module")
    return made


def _factory(
    declaration: Declaration, folder: Path, allowed: Sequence[str]
) -> Callable[..., object]:
    where, _, name = declaration.factory.partition(":")
    code = ModelCode(folder)
    in_code = where.partition(".")[0] in code
    packages = (*ALWAYS_ALLOWED, *allowed)
    if not in_code and not _within(where, packages):
        raise _error(
            declaration,
            f"there is no module {where!r} in {declaration.name}/{FOLDER}/, and factories from "
            f"elsewhere may come from {', '.join(packages)} only. Put the code into "
            f"{declaration.name}/{FOLDER}/, or have the operator allow the package "
            "(allowed_packages)",
        )
    try:
        module = code.module(where) if in_code else importlib.import_module(where)
    except ImportError as error:
        raise _error(declaration, f"{_plain(error, code)}{_hint(error, declaration)}") from error
    if name not in vars(module):
        own = [each for each in vars(module) if _problem(vars(module)[each], module) == ""]
        raise _error(declaration, f"{where} has no {name!r}. {did_you_mean(name, own)}")
    factory = vars(module)[name]
    if problem := _problem(factory, module):
        raise _error(declaration, problem)
    return cast("Callable[..., object]", factory)


def _problem(factory: object, module: ModuleType) -> str:
    """Returns why something may not be called as a factory; empty if it may."""
    if not (inspect.isfunction(factory) or inspect.isclass(factory)):
        return f"is a {type(factory).__name__}; must be a Python function or an nn.Module class"
    if inspect.isclass(factory) and not issubclass(factory, nn.Module):
        return "is a class, but not a subclass of nn.Module"
    home, own = factory.__module__, module.__name__
    # A package may define its factories in another of its modules, but not import them.
    if home.partition(".")[0] != own.partition(".")[0]:
        return f"is defined in {home}; must be defined in the module's own package"
    if inspect.isfunction(factory):
        try:
            returned = get_type_hints(factory).get("return", nn.Module)
        except Exception:  # noqa: BLE001  # annotations may name what does not exist here
            returned = nn.Module
        if returned is type(None) or (
            inspect.isclass(returned) and not issubclass(returned, nn.Module)
        ):
            return f"returns {returned.__name__} by its annotation, not an nn.Module"
    return ""


def _within(module: str, packages: Sequence[str]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)


def _plain(error: ImportError, code: ModelCode) -> str:
    return str(error).replace(f"{code.package}.", "")


def _hint(error: ImportError, declaration: Declaration) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return ""
    return (
        f". Modules of the model belong into {declaration.name}/{FOLDER}/; other packages must be "
        "installed beside the server"
    )


def _error(declaration: Declaration, problem: str) -> DeclarationError:
    return DeclarationError(f"{declaration.name}: factory {declaration.factory!r}: {problem}")
