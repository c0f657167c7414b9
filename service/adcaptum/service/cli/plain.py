"""Results as values of JSON."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"


def plain(value: object) -> Plain:  # noqa: PLR0911 - one for each kind
    """Convert a result to dictionaries, lists, texts and numbers.

    JSON has no numbers that are not finite; they become null.
    """
    match value:
        case None | bool() | int():
            return value
        case str():  # enumerations are texts, too
            return str(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case bytes():
            return value.decode(errors="replace")
        case np.ndarray() | np.generic():
            return plain(value.tolist())
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case Sequence():
            return [plain(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
