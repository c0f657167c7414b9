"""Loaders: from a version's file to a module."""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from torch import nn

from adcaptum.service.models.declaration import Declaration, DeclarationError
from adcaptum.service.nearest import did_you_mean


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a module: a version's file, and the declaration that goes with it.

    Attributes:
        declaration: The model's declaration.
        folder: The model's folder.
        file: The file in the version's folder that makes it a version.
        allowed: Packages from which code may come, beside the model's own.
        content: The content of a file whose loading may run code, as it was hashed; else None.
    """

    declaration: Declaration
    folder: Path
    file: Path
    allowed: tuple[str, ...] = ()
    content: bytes | None = field(default=None, repr=False)

    @property
    def trusted(self) -> io.BytesIO:
        """The content of a file whose loading may run code, of one that is trusted."""
        assert self.content is not None, "such a file is read where its trust is checked"
        return io.BytesIO(self.content)

    @property
    def path(self) -> str:
        """The file's path in the model's folder."""
        return self.file.relative_to(self.folder).as_posix()

    def error(self, problem: str) -> DeclarationError:
        """Returns an error about the file."""
        return DeclarationError(f"{self.declaration.name}/{self.path}: {problem}")

    def arguments(self, known: Collection[str] = ()) -> Mapping[str, object]:
        """Returns `[arguments]`.

        Args:
            known: The keys that the loader takes.

        Raises:
            DeclarationError: There is another one.
        """
        given, loader = self.declaration.arguments, self.declaration.loader
        for key in given:
            if key not in known:
                takes = did_you_mean(key, known) if known else "It takes none."
                raise DeclarationError(
                    f"{self.declaration.name}/model.toml: arguments.{key}: the loader {loader!r} "
                    f"has no such argument. {takes}"
                )
        return given


class Loader(Protocol):
    """A kind of model.

    Attributes:
        name: The name, as `loader` in `model.toml` has it.
        file: The name of the file that makes a folder a version.
        runs_code: Whether reading that file may run code that it contains. Such a file is read
            only if `[trusted]` in `model.toml` has its SHA-256.
        opaque: Whether the model's layers and operations cannot be observed.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    runs_code: ClassVar[bool] = False
    opaque: ClassVar[bool] = False

    def load(self, source: Source) -> nn.Module:
        """Returns the module with the weights of the version.

        Raises:
            DeclarationError: A file is not what the declaration says.
            Exception: Errors of the model's own code.
        """
        ...
