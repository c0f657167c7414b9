"""The models of a server and the state of each."""

from collections.abc import Iterator, Mapping

from adcaptum.service.errors import (
    InvalidRequest,
    ModelFailed,
    ModelUnloaded,
    NotFound,
    Reason,
    Unavailable,
)
from adcaptum.service.models.catalogue.entry import Entry, State
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.nearest import did_you_mean
from adcaptum.v1 import model_pb2


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

    def add(self, name: str) -> Entry:
        """Returns the entry of a model, a new one if there is none."""
        if name not in self._entries:
            self._entries = dict(sorted([*self._entries.items(), (name, Entry(name))]))
        return self._entries[name]

    def remove(self, name: str) -> None:
        """Forgets a model."""
        self._entries.pop(name, None)
        self.changed()

    def changed(self) -> None:
        """Forgets which versions requests mean: an entry has changed."""
        self._found.clear()

    def set_ready(
        self, name: str, served: Mapping[str, ServedModel], failures: Mapping[str, str]
    ) -> None:
        """Marks a model as READY; see `Entry.set_loaded`."""
        self._entries[name].set_loaded(served, failures)
        self.changed()

    def find(self, reference: model_pb2.ModelRef) -> ServedModel:
        """Returns the version that a request names.

        Raises:
            NotFound: There is no such model, version or alias.
            ModelFailed: It could not be loaded.
            ModelUnloaded: It was unloaded.
            Unavailable: It is being loaded, or is on another worker.
        """
        key = (reference.name, reference.version, reference.alias)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find(reference)
        return found

    def _find(self, reference: model_pb2.ModelRef) -> ServedModel:
        entry = self.entry(reference.name)
        if not entry.served:
            _check_serves(entry, entry.default_version, f"Model {entry.name!r}")
        version = version_name(entry, reference)
        if version not in entry.served:
            _check_serves(entry, version, f"Version {version!r} of model {entry.name!r}")
        return entry.served[version]


def _check_serves(entry: Entry, version: str, subject: str) -> None:
    """Raises the error of a model, or a version of it, that does not serve."""
    state, reason = entry.version_state(version)
    if state is State.FAILED:
        raise ModelFailed(f"{subject} could not be loaded: {reason}", subject=entry.name)
    if state is State.ELSEWHERE:
        raise Unavailable(f"{subject} is on another worker.", reason=Reason.WORKER_LOST)
    if state is State.LOADING:
        raise Unavailable(f"{subject} is being loaded.", reason=Reason.MODEL_LOADING)
    raise ModelUnloaded(f"{subject} is not loaded.", subject=entry.name)


def version_name(entry: Entry, reference: model_pb2.ModelRef) -> str:
    """Returns the version that a request names.

    Raises:
        NotFound: There is none.
    """
    selector = reference.WhichOneof("selector")
    if selector == "alias":
        if reference.alias not in entry.aliases:
            raise NotFound("alias", reference.alias, entry.aliases)
        return entry.aliases[reference.alias]
    if selector == "version":
        if reference.version not in entry.versions:
            raise NotFound("version", reference.version, entry.versions)
        return reference.version
    return entry.default_version
