"""The life cycle of models, of which callers need not know how many processes have them."""

from typing import Protocol


class ModelLifecycle(Protocol):
    """Brings models into memory and out of it, and moves their aliases.

    Changes of one model run one after another; each goes on when its caller leaves. All methods are
    for the event loop.
    """

    async def load(self, name: str, version: str = "", *, wait: bool = True) -> None:
        """Loads a model from its folder, or loads it anew if the folder has changed.

        What is loaded serves until the new version is ready, and goes on if that fails.

        Args:
            name: The model.
            version: Its version; empty: all that the folder has, and no others any more.
            wait: Whether to return when it serves; else at once.

        Raises:
            NotFound: The repository has no such model or version.
            ModelFailed: A version could not be loaded, and `wait` is true.
        """
        ...

    async def unload(self, name: str, version: str = "") -> None:
        """Takes a model out of service; its memory is freed when its requests have finished.

        Args:
            name: The model.
            version: Its version; empty: all.

        Raises:
            NotFound: There is no such model or version.
            VersionInUse: An alias or `default_version` names the version, or no other one serves.
        """
        ...

    async def remove(self, name: str) -> None:
        """Unloads a model whose folder has gone, and forgets it; nothing if it is not known."""
        ...

    async def set_alias(
        self, name: str, alias: str, version: str, expected: str | None = None
    ) -> None:
        """Moves an alias to a version that serves, or makes one; kept across restarts.

        Args:
            name: The model.
            alias: The alias.
            version: The version.
            expected: The version at which the alias has to be, or else already at `version`; empty:
                there has to be no such alias. None: wherever it is.

        Raises:
            InvalidRequest: The alias has no allowed name.
            NotFound: There is no such model or version.
            ModelUnloaded: The version does not serve.
            Conflict: The alias is not where it was expected.
            Unwritable: The change cannot be kept.
        """
        ...

    async def delete_alias(self, name: str, alias: str, expected: str | None = None) -> None:
        """Removes an alias; kept across restarts.

        Args:
            name: The model.
            alias: The alias.
            expected: The version at which the alias has to be; None: wherever it is.

        Raises:
            NotFound: There is no such model or alias.
            Conflict: The alias is not where it was expected.
            Unwritable: The change cannot be kept.
        """
        ...
