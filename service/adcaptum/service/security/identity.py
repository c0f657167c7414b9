"""Identities: callers as their credentials describe them, with what they may do."""

import fnmatch
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from adcaptum.service.security.roles import Role

ALL: Final = "*"
"""The pattern of all models."""

MOST_NAME: Final = 128
"""The longest name of a caller, and of a model that a pattern can have."""

GOOD_NAME: Final = re.compile(rf"[\x21-\x7e]{{1,{MOST_NAME}}}")

KNOWN: Final = frozenset(map(str, Role))

READERS: Final = frozenset({Role.PREDICT, Role.EXPLAIN})
"""The roles whose callers may also read what they ask."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The part of the device that a caller may have.

    Attributes:
        row_seconds: The seconds of the device in each second; None: any.
        rows: The most rows under way; None: any.
    """

    row_seconds: float | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Grants:
    """The calls that a caller may make, by role: for all models, or those that match a pattern.

    Attributes:
        patterns: For each role the models that it is for; None: all.
    """

    patterns: dict[Role, re.Pattern[str] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Grants":
        """Reads grants: `ROLE` for all models, `ROLE:PATTERN` for some, as `explain:cells*`.

        Raises:
            ValueError: A text is none.
        """
        globs: dict[Role, set[str]] = {}
        for text in texts:
            word, colon, glob = text.partition(":")
            if word not in KNOWN or (colon and not glob):
                allowed = ", ".join(Role)
                raise ValueError(f"{text[:80]!r}; must be ROLE or ROLE:PATTERN, ROLE of {allowed}")
            role = Role(word)
            for each in (role, *((Role.READ,) if role in READERS else ())):
                globs.setdefault(each, set()).add(glob or ALL)
        return cls({role: _pattern(found) for role, found in globs.items()})

    def has(self, role: Role) -> bool:
        """Returns whether a caller has a role for any model."""
        return role in self.patterns

    def is_for_all(self, role: Role) -> bool:
        """Returns whether a caller has a role for all models."""
        return self.patterns.get(role, _NONE) is None

    def allows(self, role: Role, model: str) -> bool:
        """Returns whether a caller has a role for a model."""
        pattern = self.patterns.get(role, _NONE)
        return pattern is None or (len(model) <= MOST_NAME and bool(pattern.match(model)))


_NONE: Final = re.compile(r"(?!)")


def _pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    if ALL in globs:
        return None
    return re.compile("|".join(fnmatch.translate(glob) for glob in sorted(globs)))


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller who has shown credentials.

    Attributes:
        name: The name, with the kind of credentials before it: `key:fraud`.
        grants: What the caller may do.
        quota: How much of it.
        is_proxy: Whether it may speak for others, whom `x-caller-id` names.
    """

    name: str
    grants: Grants
    quota: Quota = Quota()
    is_proxy: bool = False

    def caller(self, told: str) -> str:
        """Returns the name under which requests are counted and take turns.

        Args:
            told: The `x-caller-id` of the request; empty if it has none.
        """
        return visible(f"{self.name}/{told}") if self.is_proxy and told else self.name


def visible(name: str) -> str:
    """Returns a name as metadata can have it: a digest stands for one that is long or not ASCII."""
    if GOOD_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]
    return f"{name.partition(':')[0][:16]}:{digest}"
