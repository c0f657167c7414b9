"""A model of a server: its versions, their states, and its aliases."""

import enum
from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from time import time
from types import MappingProxyType
from typing import Final

from adcaptum.service.lifecycle import aliases
from adcaptum.service.lifecycle.aliases import Changes
from adcaptum.service.models.declaration import Declaration
from adcaptum.service.models.repository.stored_models import StoredModel
from adcaptum.service.models.served_model import ServedModel

NOTHING: Final = MappingProxyType[str, str]({})


def _nothing() -> Mapping[str, str]:
    return NOTHING


class State(enum.Enum):
    """The state of a model, or of a version of one."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    UNLOADING = "unloading"
    UNLOADED = "unloaded"
    ELSEWHERE = "elsewhere"


@dataclass(slots=True)
class Entry:
    """A model of the repository. `Catalogue.changed` is to be called after a change.

    Attributes:
        name: The model's name.
        state: The state of versions that nothing more is known of.
        reason: The reason for FAILED, as callers may read it.
        stored: The content of its folder, once it is read.
        served: Its versions that serve, by name.
        failures: The reason for each version that could not be loaded and does not serve.
        load_failures: The reason for each version that serves and could not be loaded anew.
        loading: The versions that are being loaded.
        unloading: The versions that have requests to finish.
        aliases: The versions by alias.
        default_version: The version of requests that name none; empty until it is read.
        load_times: When each version became READY, in seconds since 1970.
    """

    name: str
    state: State = State.LOADING
    reason: str = ""
    stored: StoredModel | None = None
    served: Mapping[str, ServedModel] = field(default_factory=lambda: MappingProxyType({}))
    failures: Mapping[str, str] = field(default_factory=_nothing)
    load_failures: Mapping[str, str] = field(default_factory=_nothing)
    loading: AbstractSet[str] = frozenset()
    unloading: AbstractSet[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=_nothing)
    default_version: str = ""
    load_times: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions in numeric order: those of its folder, and others that still serve."""
        stored = () if self.stored is None else tuple(self.stored.versions)
        return stored + tuple(name for name in self.served if name not in stored)

    @property
    def best_state(self) -> State:
        """The state of the model: READY if any version serves, else that of the default one."""
        return State.READY if self.served else self.version_state(self.default_version)[0]

    @property
    def best_reason(self) -> str:
        """The reason for the state of the model."""
        return "" if self.served else self.version_state(self.default_version)[1]

    def declaration(self, version: str) -> Declaration | None:
        """Returns the declaration of a version: that with which it was loaded, if it serves."""
        if version in self.served:
            return self.served[version].loaded.declaration
        return None if self.stored is None else self.stored.declaration

    def version_state(self, version: str) -> tuple[State, str]:
        """Returns the state of a version, and the reason for it."""
        if version in self.served:
            return State.READY, ""
        if version in self.loading:
            return State.LOADING, ""
        if version in self.failures:
            return State.FAILED, self.failures[version]
        if version in self.unloading:
            return State.UNLOADING, ""
        return self.state, self.reason

    def set_stored(self, stored: StoredModel, changes: Changes = NOTHING) -> None:
        """Sets the content of its folder.

        Args:
            stored: The content.
            changes: The aliases that were changed while a server ran.
        """
        self.stored = stored
        if not self.served:
            self.default_version = stored.default_version
            self.set_aliases(changes)

    def set_aliases(self, changes: Changes) -> None:
        """Sets the aliases: those that are declared, with what was changed since.

        None moves from a version that serves to one that does not.
        """
        declared = NOTHING if self.stored is None else self.stored.declaration.aliases
        found = aliases.effective(declared, changes, self.versions)
        for alias, at in self.aliases.items():
            if alias in found and found[alias] not in self.served and at in self.served:
                found[alias] = at
        self.aliases = MappingProxyType(found)

    def set_loaded(
        self, served: Mapping[str, ServedModel], failures: Mapping[str, str] = NOTHING
    ) -> None:
        """Sets what serves from now on, READY if anything does.

        Args:
            served: All versions that serve, by name, in numeric order.
            failures: The reason for each version that could not be loaded, or not anew.
        """
        now = time()
        self.load_times = MappingProxyType(
            {
                name: self.load_times.get(name, now) if self.served.get(name) is each else now
                for name, each in served.items()
            }
        )
        self.served = MappingProxyType(dict(served))
        self.failures = MappingProxyType(
            {name: reason for name, reason in failures.items() if name not in served}
        )
        self.load_failures = MappingProxyType(
            {name: reason for name, reason in failures.items() if name in served}
        )
        # Versions of which nothing is said were unloaded, or came later.
        self.state, self.reason = State.UNLOADED, ""
        self.default_version = self._default()

    def set_failed(self, reason: str, failures: Mapping[str, str] = NOTHING) -> None:
        """Marks it as FAILED, with nothing that serves.

        Args:
            reason: The reason, that of its default version if its folder could be read.
            failures: The reason for each version.
        """
        self.state, self.reason = State.FAILED, reason
        self.served = MappingProxyType({})
        self.load_failures = NOTHING
        self.failures = MappingProxyType(dict(failures))

    def _default(self) -> str:
        """Returns the version of requests that name none.

        It moves to what the folder asks for when that serves, and never from a version that serves
        to one that does not.
        """
        wanted = "" if self.stored is None else self.stored.default_version
        if wanted in self.served or self.default_version in self.served:
            return wanted if wanted in self.served else self.default_version
        declared = "" if self.stored is None else self.stored.declaration.default_version
        left = [*self.served]
        # The highest one, unless the owner has chosen another, or it has failed from the beginning.
        if not left or declared or wanted in self.failures or wanted in self.loading:
            return wanted
        return left[-1]
