"""Answers as tables of pandas or Arrow, a row for each number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adcaptum.client.results.explanation import Attribution, Explanation

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Columns = Mapping[str, Sequence[Any]]


def to_pandas(columns: Columns) -> "pd.DataFrame":
    """Make a DataFrame.

    Raises:
        ImportError: pandas is not installed.
    """
    import pandas as pd  # noqa: PLC0415 - optional

    return pd.DataFrame(dict(columns))


def to_arrow(columns: Columns) -> "pa.Table":
    """Make an Arrow table.

    Raises:
        ImportError: pyarrow is not installed.
    """
    import pyarrow as pa  # noqa: PLC0415 - optional

    return pa.table(dict(columns))


def attribution_columns(explanations: Sequence[Explanation]) -> Columns:
    """Return columns with a row for each attribution of each explanation.

    They are method, example, target, label, output, input, feature, index, value, standard_error.
    """
    rows = [
        (
            each.method.name,
            each.example,
            each.target,
            each.label,
            each.output,
            name,
            *number,
        )
        for each in explanations
        for name, attribution in each.attributions.items()
        for number in _numbers(attribution)
    ]
    titles = (
        "method", "example", "target", "label", "output", "input", "feature", "index", "value",
        "standard_error",
    )  # fmt: skip
    return {title: [row[place] for row in rows] for place, title in enumerate(titles)}


def output_columns(outputs: Mapping[str, Any], labels: Sequence[str]) -> Columns:
    """Return columns with a row for each example: its outputs, and its best label."""
    found: dict[str, Sequence[Any]] = {}
    for name, values in outputs.items():
        flat = np.asarray(values).reshape(len(values), -1)
        for place in range(flat.shape[1]):
            found[name if flat.shape[1] == 1 else f"{name}[{place}]"] = flat[:, place].tolist()
    if labels:
        found["label"] = list(labels)
    return found


def _numbers(attribution: Attribution) -> Iterator[tuple[str, int, float, float | None]]:
    """Yield the name, place, value and standard error of each number."""
    values = attribution.values.ravel().tolist()
    places = range(len(values)) if attribution.indices is None else attribution.indices.tolist()
    errors = (
        [None] * len(values)
        if attribution.standard_errors is None
        else attribution.standard_errors.ravel().tolist()
    )
    for order, (place, value, error) in enumerate(zip(places, values, errors, strict=True)):
        if attribution.tokens:
            name = attribution.tokens[order].text
        else:
            name = attribution.features[place] if place < len(attribution.features) else ""
        yield name, place, value, error
