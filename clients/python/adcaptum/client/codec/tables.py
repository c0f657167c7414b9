"""Tables of pandas, Arrow and Polars as arrays.

None of them is imported: a table is known by the library of its class.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adcaptum.client.errors import FieldViolation, InvalidRequest
from adcaptum.client.results.model_info import FeatureInfo, InputInfo

_LIBRARIES: Final = frozenset({"pandas", "polars", "pyarrow"})
_SHOWN: Final = 3


def is_table(value: object) -> bool:
    """True for a DataFrame, an Arrow table or a record batch."""
    library = type(value).__module__.partition(".")[0]
    return library in _LIBRARIES and (hasattr(value, "columns") or hasattr(value, "column_names"))


def table_rows(table: Any, declared: InputInfo | None) -> npt.NDArray[Any]:
    """Convert a table to an array with a row for each of its rows.

    Args:
        table: The table.
        declared: The model's input, whose features name and order the columns; None if unknown.

    Raises:
        InvalidRequest: A column is missing, or a value is missing or no number.
    """
    found = list(_columns(table))
    features = declared.features if declared is not None else ()
    name = declared.name if declared is not None else ""
    if features:
        found = _arranged(found, features, name)
    known: Sequence[FeatureInfo | None] = features or [None] * len(found)
    columns = [
        _numbers(values, title, feature, name)
        for (title, values), feature in zip(found, known, strict=True)
    ]
    if not columns:
        raise _invalid(name, "the table has no columns")
    whole = all(each.dtype.kind in "biu" for each in columns)
    # The client converts numpy's default datatypes to that of the input.
    rows = np.stack([each.astype(np.int64 if whole else np.float64) for each in columns], axis=1)
    single = declared is not None and len(declared.shape) == 1 and rows.shape[1] == 1
    return rows[:, 0] if single else rows


def category(text: str, feature: FeatureInfo | None) -> int | None:
    """Return the number of a category by its name; None if the feature has no such category."""
    if feature is None or text not in feature.categories:
        return None
    return feature.categories.index(text)


def allowed(feature: FeatureInfo | None) -> str:
    """Say what a value of a feature may be."""
    if feature is None or not feature.categories:
        return "must be a number"
    shown = ", ".join(map(repr, feature.categories[:_SHOWN]))
    more = len(feature.categories) - _SHOWN
    return f"must be a number or one of {shown}" + (f" and {more} others" if more > 0 else "")


def _columns(table: Any) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    if hasattr(table, "column_names"):  # Arrow
        for place, name in enumerate(table.column_names):
            yield name, table.column(place).to_numpy(zero_copy_only=False)
    elif hasattr(table, "iloc"):  # pandas, where two columns may have one name
        for place, name in enumerate(table.columns):
            yield str(name), table.iloc[:, place].to_numpy()
    else:
        for name in table.columns:
            yield name, table[name].to_numpy()


def _arranged(
    found: list[tuple[str, npt.NDArray[Any]]], features: Sequence[FeatureInfo], name: str
) -> list[tuple[str, npt.NDArray[Any]]]:
    """Choose and order the columns by the names of features; tables without names keep theirs."""
    columns = dict(reversed(found))
    missing = [each.name for each in features if each.name not in columns]
    numbered = [title for title, _ in found] == [str(place) for place in range(len(found))]
    if missing and numbered and len(found) == len(features):
        return found
    if missing:
        shown = ", ".join(map(repr, missing[:_SHOWN]))
        more = f" and {len(missing) - _SHOWN} others" if len(missing) > _SHOWN else ""
        titles = ", ".join(repr(title) for title, _ in found[: 2 * _SHOWN])
        raise _invalid(name, f"the table has no column {shown}{more}; it has {titles}")
    return [(each.name, columns[each.name]) for each in features]


def _numbers(
    values: npt.NDArray[Any], title: str, feature: FeatureInfo | None, name: str
) -> npt.NDArray[Any]:
    if values.dtype.kind not in "biuf":
        values = np.array(
            [_number(value, row, title, feature, name) for row, value in enumerate(values.tolist())]
        )
    if values.dtype.kind == "f" and (empty := np.flatnonzero(np.isnan(values))).size:
        raise _invalid(name, f"row {empty[0]}, column {title!r}: missing; {allowed(feature)}")
    return values


def _number(value: Any, row: int, title: str, feature: FeatureInfo | None, name: str) -> Any:
    if isinstance(value, str):
        found = category(value, feature)
        if found is not None:
            return found
    elif isinstance(value, bool | int | float):
        return value
    elif hasattr(value, "__float__"):  # decimals
        return float(value)
    shown = f"{value!r:.60}" if isinstance(value, str) else _kind(value)
    raise _invalid(name, f"row {row}, column {title!r}: {shown}; {allowed(feature)}")


def _kind(value: object) -> str:
    """Name what is no number; libraries have several ways to say that nothing is there."""
    kind = type(value).__name__
    return "missing" if kind in {"NoneType", "NAType", "NaTType"} else f"a {kind}"


def _invalid(name: str, description: str) -> InvalidRequest:
    field = f"inputs[{name}]" if name else "inputs"
    violation = FieldViolation(field, description)
    return InvalidRequest(f"{field}: {description}", violations=(violation,))
