"""Serving from a script or a notebook: a server in a thread of the process."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import numpy as np
import structlog
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from adcaptum.service import logs
from adcaptum.service.authoring.draft import Draft
from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.authoring.model_folder import ModelFolder
from adcaptum.service.lifecycle.names import NAME, NAME_RULE
from adcaptum.service.models.loaders.in_process import MODULES
from adcaptum.service.processes.guest import Guest
from adcaptum.service.server import Server
from adcaptum.service.settings import Settings

Array: TypeAlias = "Tensor | np.ndarray[Any, Any]"
Examples: TypeAlias = "Array | Sequence[Array] | Mapping[str, Array]"

DEFAULTS: Final[Mapping[str, object]] = {
    "port": 0,
    "http_port": 0,
    "log_level": "warning",
    # A model that does not load is an error of `serve`, so it waits for all of them.
    "ready_after_seconds": 1e9,
    "drain_seconds": 1.0,
}
"""Settings other than those of a server of its own."""


class Serving:
    """A server in a thread of this process; `close`, or leaving its `with`, stops it.

    Attributes:
        address: The address of gRPC, as `HOST:PORT`.
        http_address: The address of metrics and probes.
        failures: The reason for each model that does not serve.
    """

    def __init__(self, settings: Settings) -> None:
        """Starts the server and waits until its models have loaded.

        Raises:
            AuthoringError: The server cannot start.
        """
        self.address = self.http_address = ""
        self.failures: Mapping[str, str] = {}
        self._started = threading.Event()
        self._error: BaseException | None = None
        if not structlog.is_configured():
            logs.configure(settings.log_level, libraries=False)
        self._server = Server(settings, guest=Guest(self._ready))
        self._thread = threading.Thread(target=self._run, name="adcaptum", daemon=True)
        self._thread.start()
        self._started.wait()
        if not self.address:
            self._thread.join()
            raise AuthoringError(f"the server does not start: {self._error}") from self._error

    def close(self) -> None:
        """Stops the server after the requests in flight."""
        if self._thread.is_alive():
            self._server.stop()
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "serving" if self._thread.is_alive() else "closed"
        return f"<{state} at {self.address}>"

    def _ready(self, addresses: Mapping[str, str], reasons: Mapping[str, str]) -> None:
        self.address, self.http_address = addresses["grpc"], addresses["http"]
        self.failures = {name: reason for name, reason in reasons.items() if reason}
        self._started.set()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve())
        except BaseException as error:  # noqa: BLE001  # it is raised in the starter's thread
            self._error = error
        finally:
            self._started.set()


class ServingModules(Serving):
    """A server of modules of this process, with the folder that describes them to it."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        examples: Mapping[str, Examples],
        labels: Mapping[str, Sequence[str]],
        settings: Mapping[str, object],
    ) -> None:
        """Describes the modules, starts the server and waits until they have loaded.

        Raises:
            AuthoringError: A module cannot be served; the text says why.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="adcaptum-")
        repository = Path(self._folder.name).resolve()
        self._kept: list[Path] = []
        try:
            for name, module in models.items():
                folder = _described(name, module, examples, labels).write(repository)
                MODULES[folder] = module
                self._kept.append(folder)
            super().__init__(_settings(repository, settings))
            self._refuse_failures()
        except BaseException:
            self._forget()
            raise

    def close(self) -> None:
        """Stops the server after the requests in flight."""
        super().close()
        self._forget()

    def _refuse_failures(self) -> None:
        if self.failures:
            super().close()
            texts = (f"{name!r} cannot be served: {why}" for name, why in self.failures.items())
            raise AuthoringError("; ".join(texts))

    def _forget(self) -> None:
        for folder in self._kept:
            MODULES.pop(folder, None)
        self._folder.cleanup()


def serve(
    models: Mapping[str, nn.Module],
    examples: Mapping[str, Examples],
    *,
    labels: Mapping[str, Sequence[str]] | None = None,
    **settings: object,
) -> ServingModules:
    """Serves modules of this process, on loopback, until the handle is closed.

    The server answers with the modules as they are now: it copies them. It runs in a thread, so
    that the same process can ask it with `adcaptum.client.Client`.

    Args:
        models: Modules by name.
        examples: By model, the arguments of its forward method, the batch first: an array, several
            in a list, or by input.
        labels: By model, the names of the classes of its output.
        **settings: Settings of the server by name, such as `port`, by default a free one.

    Raises:
        AuthoringError: A module cannot be served; the text says why.
    """
    if unknown := sorted({*examples, *(labels or {})} - set(models)):
        raise AuthoringError(
            f"examples: there is no model {unknown[0]!r}; there are {', '.join(models)}"
        )
    return ServingModules(models, examples, labels or {}, settings)


@contextmanager
def serving_folder(folder: Path, **settings: object) -> Iterator[Serving]:
    """Serves one model of a repository while the context lasts.

    Args:
        folder: The model's folder.
        **settings: Settings of the server by name.

    Raises:
        AuthoringError: The server cannot start.
    """
    with tempfile.TemporaryDirectory(prefix="adcaptum-") as temporary:
        (Path(temporary) / folder.resolve().name).symlink_to(folder.resolve())
        with Serving(_settings(Path(temporary), settings)) as serving:
            yield serving


def _settings(repository: Path, given: Mapping[str, object]) -> Settings:
    chosen: dict[str, Any] = {**DEFAULTS, "host": "127.0.0.1", **given, "repository": repository}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise AuthoringError("; ".join(problems)) from error


def _described(
    name: str,
    module: nn.Module,
    examples: Mapping[str, Examples],
    labels: Mapping[str, Sequence[str]],
) -> ModelFolder:
    if NAME.fullmatch(name) is None:
        raise AuthoringError(f"models: {name!r} is not of the form {NAME_RULE}")
    if not isinstance(module, nn.Module):
        raise AuthoringError(f"models: {name!r} is a {type(module).__name__}, not an nn.Module")
    if name not in examples:
        raise AuthoringError(
            f"examples: there are none of {name!r}; the server checks a model with an example, "
            "such as an array of one row"
        )
    training = module.training
    try:
        draft = Draft.of(module.eval(), _tensors(examples[name]), labels.get(name, ()))
    except AuthoringError as error:
        raise AuthoringError(f"{name}: {error}") from error
    finally:
        module.train(training)
    return ModelFolder(
        name=name,
        configuration={"loader": "in_process", **draft.configuration()},
        weights={key: value.detach().cpu() for key, value in module.state_dict().items()},
        tensors=draft.tensors(),
    )


def _tensors(given: Examples) -> dict[str, Tensor] | list[Tensor]:
    if isinstance(given, Mapping):
        return {name: torch.as_tensor(each) for name, each in given.items()}
    if isinstance(given, Tensor | np.ndarray):
        return [torch.as_tensor(given)]
    return [torch.as_tensor(each) for each in given]
