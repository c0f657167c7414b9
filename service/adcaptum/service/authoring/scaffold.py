"""A new entry of a repository from a factory, with its code, weights and declaration."""

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torch import Tensor, nn

from adcaptum.service.authoring.draft import Draft
from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.service.lifecycle.names import NAME, NAME_RULE
from adcaptum.service.nearest import did_you_mean

INSTALLED: Final = ("site-packages", "dist-packages")
"""Folders of installed packages, whose code is not copied."""

COMMENTS: Final[Mapping[str, str]] = {
    "description": "The declaration of a model. Every key: docs/reference/model-toml.md.",
    "factory": "Called with [arguments]; its code is in code/.",
    "inputs": (
        "The arguments of forward in their order. In shapes -1 stands for any length.\n"
        'kind: "tabular" (then features = [...] names the columns), "image" (channels first; PNG\n'
        'and JPEG come scaled to 0..1), "text" (needs a tokenizer) or "tensor".'
    ),
    "outputs": (
        'The first one is explained. kind: "logits", "probabilities" or "values"; labels = [...]\n'
        "names the classes."
    ),
    "examples": "The model is checked, measured and tried with these.",
    "": (
        "Readable names of modules, for explanations of layers:\n"
        "[layers]\n"
        'hidden = "{layer}"\n'
        "\n"
        "The question of requests that name no method:\n"
        "[defaults]\n"
        'methods = [{{ name = "integrated_gradients" }}]\n'
        "\n"
        "A question under a name; requests say preset = quick:\n"
        "[presets.quick]\n"
        'methods = [{{ name = "input_x_gradient" }}]\n'
        "output = {{ max_features = 5 }}"
    ),
}


@dataclass(frozen=True, slots=True)
class Scaffolded:
    """A new entry.

    Attributes:
        folder: Its folder.
        code: The files of code in it, relative to `code/`.
        allow: The package that the operator has to allow, if its code was not copied.
        declared: The content of `model.toml`.
    """

    folder: Path
    code: tuple[str, ...]
    allow: str
    declared: Mapping[str, Any]


def scaffold(
    name: str,
    factory: str,
    examples: Mapping[str, Tensor] | Sequence[Tensor],
    into: Path,
    *,
    arguments: Mapping[str, object] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    labels: Sequence[str] = (),
) -> Scaffolded:
    """Writes a model's folder.

    Args:
        name: The name of the model.
        factory: `module:callable` that returns the module.
        examples: The arguments of its forward method, by name or in order.
        into: The repository.
        arguments: The factory's keyword arguments.
        weights: The state dict; None: as the factory made it.
        labels: The classes of the output.

    Raises:
        AuthoringError: Something does not fit; the text says what.
    """
    check_new(name, into)
    with _importable() as before:
        module, home = _made(factory, arguments or {})
        code = _code(home, before)
    module.eval()
    if weights is not None:
        try:
            module.load_state_dict(dict(weights), strict=True)
        except RuntimeError as error:
            raise AuthoringError(f"weights: {error}") from error
    draft = Draft.of(module, examples, labels)
    configuration: dict[str, Any] = {"description": "", "factory": factory}
    if arguments:
        configuration["arguments"] = dict(arguments)
    configuration |= draft.configuration()
    layer = next((key for key, _ in module.named_modules() if key), "layer")
    comments = {**COMMENTS, "": COMMENTS[""].format(layer=layer)}
    allow = "" if code else home.__name__.partition(".")[0]
    if allow:
        comments["factory"] = (
            f"Called with [arguments]; the operator allows its package: allowed_packages = {allow}."
        )
    folder = ModelFolder(
        name=name,
        configuration=configuration,
        weights={key: value.detach().cpu() for key, value in module.state_dict().items()},
        tensors=draft.tensors(),
        files={f"code/{path}": source for path, source in code.items()},
        comments=comments,
    ).write(into)
    return Scaffolded(folder, tuple(code), allow, configuration)


def check_new(name: str, into: Path) -> None:
    """Raises `AuthoringError` unless the name is that of a model that is not there yet."""
    if NAME.fullmatch(name) is None:
        raise AuthoringError(f"{name!r} is not of the form {NAME_RULE}")
    if (into / name).exists():
        raise AuthoringError(
            f"{into / name} is already there; remove it, or choose another repository (--into)"
        )


@contextmanager
def _importable() -> Iterator[set[str]]:
    """Makes modules in the working directory importable; gives the names of those known before."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield set(sys.modules)
    finally:
        sys.path.remove(here)


def _made(factory: str, arguments: Mapping[str, object]) -> tuple[nn.Module, ModuleType]:
    """Calls a factory; returns what it made, and the module that the factory is in."""
    where, colon, name = factory.partition(":")
    if not where or not colon or not name or ":" in name:
        raise AuthoringError(f"factory: {factory!r} is not of the form 'module:callable'")
    try:
        home = importlib.import_module(where)
    except Exception as error:  # the module is others' code
        raise AuthoringError(
            f"factory: {where!r} cannot be imported from {Path.cwd()} or the installed packages: "
            f"{type(error).__name__}: {error}"
        ) from error
    known = [each for each, value in vars(home).items() if callable(value)]
    if name not in known:
        raise AuthoringError(f"factory: {where} has no {name!r}. {did_you_mean(name, known)}")
    try:
        made = vars(home)[name](**arguments)
    except Exception as error:  # likewise
        raise AuthoringError(
            f"factory: {factory} raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise AuthoringError(f"factory: {factory} returned {type(made).__name__}, not an nn.Module")
    return made, home


def _code(home: ModuleType, before: set[str]) -> dict[str, Path]:
    """Returns the files that the factory's module needs, by path in `code/`.

    They are those that were imported with it from the same place; none if it is installed.
    """
    top = home.__name__.partition(".")[0]
    file = inspect.getsourcefile(home)
    if file is None or set(INSTALLED) & set(Path(file).parts):
        return {}
    depth = home.__name__.count(".") + (Path(file).name == "__init__.py")
    root = Path(file).resolve().parents[depth]
    found: dict[str, Path] = {}
    for name, module in list(sys.modules.items()):
        source = getattr(module, "__file__", None)
        if source is None or not source.endswith(".py"):
            continue
        path = Path(source).resolve()
        own = name.partition(".")[0] == top or name not in before
        if own and path.is_relative_to(root) and not set(INSTALLED) & set(path.parts):
            found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))
