"""Imports from a model's own `code/` folder.

Each model's folder is a package of its own in `sys.modules`, under a private name, so that modules
of the same name in two models are two modules. Code in the folder imports its neighbours by their
plain names (`import layers`, `from layers import Block`) or relatively: its modules get an
`__import__` that looks in the folder first, also for imports inside functions that run later.
`importlib.import_module` with a plain name does not look there.
"""

import builtins
import hashlib
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, Final

from adcaptum.service.placement.stored import CODE

FOLDER: Final = CODE
"""The folder's name in the model's folder."""

PREFIX: Final = "adcaptum_model_code_"
"""The beginning of the packages' private names."""

_lock: Final = Lock()


class ModelCode:
    """The package that a model's `code/` folder is.

    Attributes:
        package: Its private name in `sys.modules`.
    """

    def __init__(self, model_folder: Path) -> None:
        """Names the package and makes it importable; imports nothing.

        Args:
            model_folder: The model's folder in the repository.
        """
        self._folder = (model_folder / FOLDER).resolve()
        self.package = _package(model_folder)
        with _lock:
            # The files may have changed since an earlier load.
            _forget(self.package)
            root = ModuleType(self.package, f"The code of the model {model_folder.name!r}.")
            root.__path__ = [str(self._folder)]
            sys.modules[self.package] = root
            if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
                sys.meta_path.insert(0, _Finder())
            # Not invalidate_caches(): it may run in one thread only.
            for path in filter(self._is_inside, list(sys.path_importer_cache)):
                sys.path_importer_cache.pop(path, None)

    def _is_inside(self, path: str) -> bool:
        return Path(path).is_relative_to(self._folder)

    def __contains__(self, name: str) -> bool:
        return _holds(self._folder, name)

    def module(self, name: str) -> ModuleType:
        """Imports a module of the folder by its plain dotted name."""
        return importlib.import_module(f"{self.package}.{name}")


def forget(model_folder: Path) -> None:
    """Forgets the modules of a model's folder, which nothing in memory is made of any more."""
    with _lock:
        _forget(_package(model_folder))


def _forget(package: str) -> None:
    for name in [name for name in list(sys.modules) if name.partition(".")[0] == package]:
        del sys.modules[name]


def _package(model_folder: Path) -> str:
    readable = re.sub(r"\W", "_", model_folder.name)
    folder = str((model_folder / FOLDER).resolve())
    digest = hashlib.blake2b(folder.encode(), digest_size=4).hexdigest()
    return f"{PREFIX}{readable}_{digest}"


class _Finder(MetaPathFinder):
    """Finds the modules of all models' code folders."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Returns the spec of a module under one of the private packages."""
        if path is None or not fullname.startswith(PREFIX):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Executes a module with an `__import__` that looks in its model's folder first."""

    def exec_module(self, module: ModuleType) -> None:
        """Executes the module."""
        package = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _Import(package)}
        super().exec_module(module)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Writes no bytecode: the repository is not the server's to write to."""


class _Import:
    """`__import__` for the modules of one folder."""

    def __init__(self, package: str) -> None:
        self._package = package
        (folder,) = sys.modules[package].__path__
        self._folder = Path(folder)

    def __call__(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  # the signature of __import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Imports a module, as the statement `import` does."""
        top = name.partition(".")[0]
        if level or not _holds(self._folder, top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        full = f"{self._package}.{name}"
        if fromlist:
            return builtins.__import__(full, globals, locals, fromlist, 0)
        importlib.import_module(full)
        # `import a.b` binds a.
        return sys.modules[f"{self._package}.{top}"]


def _holds(folder: Path, name: str) -> bool:
    """Returns whether a folder has a module or package of a plain name."""
    return (folder / f"{name}.py").is_file() or (folder / name).is_dir()
