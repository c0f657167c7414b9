"""Administrative calls of both clients: workers, models and aliases."""

from abc import ABC, abstractmethod
from typing import TypeVar

from adcaptum.client.calling import changes, exchange
from adcaptum.client.calling.calls import Exchange
from adcaptum.client.results.model_info import ModelInfo, VersionInfo
from adcaptum.client.results.worker_info import WorkerInfo

_Result = TypeVar("_Result")


class Administration(ABC):
    """The administrative calls of the blocking client."""

    @abstractmethod
    def _run(self, steps: Exchange[_Result]) -> _Result:
        """Make the calls of an exchange."""

    def workers(self) -> tuple[WorkerInfo, ...]:
        """List the server's worker processes; a server of one process is its own worker."""
        return self._run(exchange.workers())

    def restart_workers(self, *workers: str) -> tuple[WorkerInfo, ...]:
        """Replace worker processes one after another; no request fails by it.

        The server must allow administrative calls (`admin_calls`).

        Args:
            workers: Ids of workers; none: all of them.

        Returns:
            The workers, once all have been replaced.
        """
        return self._run(exchange.restart_workers(workers))

    def load_model(
        self,
        name: str,
        *,
        version: str | None = None,
        alias: str | None = None,
        wait: bool = True,
        idempotency_key: str = "",
    ) -> VersionInfo:
        """Load a model from the server's repository, or load it anew if its folder has changed.

        What is loaded serves until then, and goes on if that fails. The server must allow
        administrative calls.

        Args:
            name: The model.
            version: The version to load; neither version nor alias: all.
            alias: The alias of the version to load.
            wait: Return when it serves, on every worker; False: at once.
            idempotency_key: Makes a repeated call the same call.

        Returns:
            The version that was named, or else the default one.
        """
        return self._run(
            changes.load_model(
                name, version=version, alias=alias, wait=wait, idempotency_key=idempotency_key
            )
        )

    def unload_model(
        self,
        name: str,
        *,
        version: str | None = None,
        alias: str | None = None,
        idempotency_key: str = "",
    ) -> VersionInfo:
        """Take a model, or one of its versions, out of the server's memory.

        Requests under way finish on it. The server must allow administrative calls.

        Args:
            name: The model.
            version: The version to unload; neither version nor alias: all.
            alias: The alias of the version to unload.
            idempotency_key: Makes a repeated call the same call.

        Returns:
            The version that was named, or else the default one.
        """
        return self._run(
            changes.unload_model(
                name, version=version, alias=alias, idempotency_key=idempotency_key
            )
        )

    def set_alias(
        self,
        name: str,
        alias: str,
        *,
        version: str | None = None,
        of: str | None = None,
        expected_version: str | None = None,
    ) -> ModelInfo:
        """Move an alias of a model to a version that serves, or make one.

        It outlives the server. The server must allow administrative calls.

        Args:
            name: The model.
            alias: The alias.
            version: Where it is to be; neither `version` nor `of`: at the default version.
            of: Another alias, to whose version it is to move.
            expected_version: Where it has to be before; empty: nowhere. None: anywhere.
        """
        return self._run(
            changes.set_alias(
                name, alias, version=version, of=of, expected_version=expected_version
            )
        )

    def delete_alias(
        self, name: str, alias: str, *, expected_version: str | None = None
    ) -> ModelInfo:
        """Remove an alias of a model.

        Args:
            name: The model.
            alias: The alias.
            expected_version: Where it has to be; None: anywhere.
        """
        return self._run(changes.delete_alias(name, alias, expected_version=expected_version))


class AsyncAdministration(ABC):
    """The administrative calls of the asynchronous client."""

    @abstractmethod
    async def _run(self, steps: Exchange[_Result]) -> _Result:
        """Make the calls of an exchange."""

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """List the server's worker processes; a server of one process is its own worker."""
        return await self._run(exchange.workers())

    async def restart_workers(self, *workers: str) -> tuple[WorkerInfo, ...]:
        """Replace worker processes one after another; no request fails by it.

        The server must allow administrative calls (`admin_calls`).

        Args:
            workers: Ids of workers; none: all of them.

        Returns:
            The workers, once all have been replaced.
        """
        return await self._run(exchange.restart_workers(workers))

    async def load_model(
        self,
        name: str,
        *,
        version: str | None = None,
        alias: str | None = None,
        wait: bool = True,
        idempotency_key: str = "",
    ) -> VersionInfo:
        """Load a model from the server's repository, or load it anew if its folder has changed.

        What is loaded serves until then, and goes on if that fails. The server must allow
        administrative calls.

        Args:
            name: The model.
            version: The version to load; neither version nor alias: all.
            alias: The alias of the version to load.
            wait: Return when it serves, on every worker; False: at once.
            idempotency_key: Makes a repeated call the same call.

        Returns:
            The version that was named, or else the default one.
        """
        return await self._run(
            changes.load_model(
                name, version=version, alias=alias, wait=wait, idempotency_key=idempotency_key
            )
        )

    async def unload_model(
        self,
        name: str,
        *,
        version: str | None = None,
        alias: str | None = None,
        idempotency_key: str = "",
    ) -> VersionInfo:
        """Take a model, or one of its versions, out of the server's memory.

        Requests under way finish on it. The server must allow administrative calls.

        Args:
            name: The model.
            version: The version to unload; neither version nor alias: all.
            alias: The alias of the version to unload.
            idempotency_key: Makes a repeated call the same call.

        Returns:
            The version that was named, or else the default one.
        """
        return await self._run(
            changes.unload_model(
                name, version=version, alias=alias, idempotency_key=idempotency_key
            )
        )

    async def set_alias(
        self,
        name: str,
        alias: str,
        *,
        version: str | None = None,
        of: str | None = None,
        expected_version: str | None = None,
    ) -> ModelInfo:
        """Move an alias of a model to a version that serves, or make one.

        It outlives the server. The server must allow administrative calls.

        Args:
            name: The model.
            alias: The alias.
            version: Where it is to be; neither `version` nor `of`: at the default version.
            of: Another alias, to whose version it is to move.
            expected_version: Where it has to be before; empty: nowhere. None: anywhere.
        """
        return await self._run(
            changes.set_alias(
                name, alias, version=version, of=of, expected_version=expected_version
            )
        )

    async def delete_alias(
        self, name: str, alias: str, *, expected_version: str | None = None
    ) -> ModelInfo:
        """Remove an alias of a model.

        Args:
            name: The model.
            alias: The alias.
            expected_version: Where it has to be; None: anywhere.
        """
        return await self._run(changes.delete_alias(name, alias, expected_version=expected_version))
