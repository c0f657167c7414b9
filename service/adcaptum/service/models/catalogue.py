"""The models of a server and the state of each."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import time
from types import MappingProxyType

from adcaptum.service.errors import InvalidRequest, ModelFailed, NotFound, Reason, Unavailable
from adcaptum.service.models.repository.stored_models import StoredModel
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.nearest import did_you_mean
from adcaptum.v1 import model_pb2


class State(enum.Enum):
    """The state of a model."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    ELSEWHERE = "elsewhere"


@dataclass(slots=True)
class Entry:
    """A model of the repository.

    Attributes:
        name: The model's name.
        state: Its state.
        reason: The reason for FAILED, as callers may read it.
        stored: The content of its folder, once it is read.
        served: Its versions by name, once it is READY.
        failures: The reason for each version that could not be loaded.
        load_time: The time at which it became READY, in seconds since 1970; None before.
    """

    name: str
    state: State = State.LOADING
    reason: str = ""
    stored: StoredModel | None = None
    served: Mapping[str, ServedModel] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    load_time: float | None = None

    def version_state(self, version: str) -> tuple[State, str]:
        """Returns the state of a version, and the reason for it."""
        if version in self.failures:
            return State.FAILED, self.failures[version]
        return self.state, self.reason


class Catalogue:
    """All models by name. Only the event loop's thread may use it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._entries = {name: Entry(name) for name in sorted(names)}
        # Found versions by reference: most requests name the same few models.
        self._found: dict[tuple[str, str, str], ServedModel] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def entry(self, name: str) -> Entry:
        """Returns the entry of a model.

        Raises:
            InvalidRequest: The name is empty.
            NotFound: There is none.
        """
        if not name:
            raise InvalidRequest("model.name", f"missing. {did_you_mean(name, self._entries)}")
        if name not in self._entries:
            raise NotFound("model", name, self._entries)
        return self._entries[name]

    def set_stored(self, name: str, stored: StoredModel) -> None:
        """Sets the content of a model's folder."""
        self._entries[name].stored = stored

    def set_ready(
        self, name: str, served: Mapping[str, ServedModel], failures: Mapping[str, str]
    ) -> None:
        """Marks a model as READY.

        Args:
            name: The model.
            served: Its versions that serve, by name.
            failures: The reason for each of the others.
        """
        entry = self._entries[name]
        entry.failures = MappingProxyType(dict(failures))
        entry.state, entry.reason, entry.served = State.READY, "", MappingProxyType(dict(served))
        entry.load_time = time()
        self._found.clear()

    def set_elsewhere(self, name: str) -> None:
        """Marks a model as one that only other workers have."""
        self._entries[name].state = State.ELSEWHERE

    def set_failed(
        self, name: str, reason: str, failures: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Marks a model as FAILED.

        Args:
            name: The model.
            reason: The reason, that of its default version if its folder could be read.
            failures: The reason for each version.
        """
        entry = self._entries[name]
        entry.state, entry.reason = State.FAILED, reason
        entry.failures = MappingProxyType(dict(failures))

    def find(self, reference: model_pb2.ModelRef) -> ServedModel:
        """Returns the version that a request names.

        Raises:
            NotFound: There is no such model, version or alias.
            ModelFailed: It could not be loaded.
            Unavailable: It is being loaded, or is on another worker.
        """
        key = (reference.name, reference.version, reference.alias)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find(reference)
        return found

    def _find(self, reference: model_pb2.ModelRef) -> ServedModel:
        entry = self.entry(reference.name)
        if entry.state is State.FAILED:
            raise ModelFailed(
                f"Model {entry.name!r} could not be loaded: {entry.reason}", subject=entry.name
            )
        if entry.state is State.ELSEWHERE:
            raise Unavailable(
                f"Model {entry.name!r} is on another worker.", reason=Reason.WORKER_LOST
            )
        if entry.state is State.LOADING or entry.stored is None:
            raise Unavailable(f"Model {entry.name!r} is being loaded.", reason=Reason.MODEL_LOADING)
        version = version_name(entry.stored, reference)
        if version in entry.failures:
            raise ModelFailed(
                f"Version {version!r} of model {entry.name!r} could not be loaded: "
                f"{entry.failures[version]}",
                subject=entry.name,
            )
        return entry.served[version]


def version_name(stored: StoredModel, reference: model_pb2.ModelRef) -> str:
    """Returns the version that a request names.

    Raises:
        NotFound: There is none.
    """
    selector = reference.WhichOneof("selector")
    if selector == "alias":
        aliases = stored.declaration.aliases
        if reference.alias not in aliases:
            raise NotFound("alias", reference.alias, aliases)
        return aliases[reference.alias]
    if selector == "version":
        if reference.version not in stored.versions:
            raise NotFound("version", reference.version, stored.versions)
        return reference.version
    return stored.default_version
