"""A TOML table with typed reading and precise error messages."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.nearest import did_you_mean, shortened

MISSING: Final[Any] = object()


class TomlTable:
    """Reads typed values from a table; `finish` refuses keys that were not read.

    Every error names the file, the field, the value and the allowed values.
    """

    def __init__(self, values: Mapping[str, Any], file: str, path: str = "") -> None:
        self._values = values
        self._file = file
        self._path = path
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        # A key that may be absent is a known key all the same.
        self._known.add(key)
        return key in self._values

    def names(self) -> Iterator[str]:
        """Iterates over the keys of a table whose keys are free names."""
        self._known.update(self._values)
        return iter(self._values)

    def error(self, key: str, problem: str) -> DeclarationError:
        """Returns an error about a field."""
        return DeclarationError(f"{self._file}: {self._name(key)}: {problem}")

    def text(self, key: str, default: str = MISSING, *, choices: Sequence[str] = ()) -> str:
        """Reads a string, one of `choices` if there are any."""
        value = self._get(key, str, "a text", default)
        if choices and value not in choices and value != default:
            allowed = ", ".join(map(repr, choices))
            raise self.error(key, f"{shortened(value)} is not one of {allowed}")
        return value

    def integer(self, key: str, default: int = MISSING, *, least: int) -> int:
        """Reads a whole number of at least `least`."""
        value = self._get(key, int, "a whole number", default)
        if value < least:
            raise self.error(key, f"{value} is not at least {least}")
        return value

    def number(self, key: str) -> float:
        """Reads a finite number."""
        value = self._get(key, (int, float), "a number", MISSING)
        if not math.isfinite(value):
            raise self.error(key, f"{value} is not finite")
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Reads a list of strings; empty where absent."""
        return self._items(key, str, "a list of texts")

    def integers(self, key: str) -> tuple[int, ...]:
        """Reads a list of whole numbers; empty where absent."""
        return self._items(key, int, "a list of whole numbers")

    def table(self, key: str) -> "TomlTable":
        """Reads a table; empty where absent."""
        return TomlTable(self._get(key, dict, "a table", {}), self._file, self._name(key))

    def tables(self, key: str) -> tuple["TomlTable", ...]:
        """Reads a list of tables, at least one."""
        values = self._get(key, list, "a list of tables", MISSING)
        if not values or not all(isinstance(value, dict) for value in values):
            raise self.error(key, f"{shortened(values)} is not a list of at least one table")
        return tuple(
            TomlTable(value, self._file, f"{self._name(key)}[{index}]")
            for index, value in enumerate(values)
        )

    def raw(self, key: str) -> Any:
        """Reads a value of any type."""
        self._known.add(key)
        return self._values[key]

    def finish(self) -> None:
        """Raises `DeclarationError` if there are keys that were not read."""
        for key in self._values:
            if key not in self._known:
                raise self.error(key, f"unknown field. {did_you_mean(key, self._known)}")

    def _name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _items(self, key: str, kind: type[Any], what: str) -> tuple[Any, ...]:
        values = self._get(key, list, what, [])
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise self.error(key, f"{shortened(value)} in it: must be {what}")
        return tuple(values)

    def _get(
        self, key: str, kind: type[Any] | tuple[type[Any], ...], what: str, default: Any
    ) -> Any:
        self._known.add(key)
        if key not in self._values:
            if default is MISSING:
                raise self.error(key, f"missing; must be {what}")
            return default
        value = self._values[key]
        # bool is an int, to Python and to nobody else.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(key, f"{shortened(value)} is not {what}")
        return value
