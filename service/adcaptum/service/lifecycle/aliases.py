"""The rules of aliases, as functions of what there is."""

from collections.abc import Collection, Mapping

from adcaptum.service.errors import Conflict, InvalidRequest, NotFound, Reason
from adcaptum.service.lifecycle.names import NAME, NAME_RULE
from adcaptum.service.nearest import shortened

Changes = Mapping[str, str | None]
"""Versions by alias, as set while a server ran; None: the alias was deleted."""


def effective(
    declared: Mapping[str, str], changes: Changes, versions: Collection[str]
) -> dict[str, str]:
    """Returns the aliases of a model.

    Args:
        declared: Those of its declaration.
        changes: What was changed since.
        versions: The versions that there are; a changed alias of another one is left out.
    """
    merged = {**declared, **changes}
    return {alias: at for alias, at in merged.items() if at is not None and at in versions}


def check_set(aliases: Mapping[str, str], alias: str, version: str, expected: str | None) -> None:
    """Checks that an alias may be moved to a version.

    Raises:
        InvalidRequest: The alias has no allowed name.
        Conflict: It is not where it was expected.
    """
    if NAME.fullmatch(alias) is None:
        raise InvalidRequest("alias", f"{shortened(alias)} is not of the form {NAME_RULE}")
    at = aliases.get(alias, "")
    if expected is not None and at not in (expected, version):
        raise _moved(alias, at, expected)


def check_delete(aliases: Mapping[str, str], alias: str, expected: str | None) -> None:
    """Checks that an alias may be removed.

    Raises:
        InvalidRequest: No alias, or no version, is named.
        NotFound: There is none.
        Conflict: It is not where it was expected.
    """
    if not alias:
        raise InvalidRequest("alias", "missing")
    if expected == "":
        raise InvalidRequest("expected_version", "'' stands for no alias, which cannot be deleted")
    if alias not in aliases:
        raise NotFound("alias", alias, aliases)
    if expected is not None and aliases[alias] != expected:
        raise _moved(alias, aliases[alias], expected)


def _moved(alias: str, at: str, expected: str) -> Conflict:
    where = f"is at version {at!r}" if at else "does not exist"
    wanted = f"at version {shortened(expected)}" if expected else "not to exist"
    return Conflict(
        f"Alias {alias!r} {where}, and was expected {wanted}.", reason=Reason.ALIAS_MOVED
    )
