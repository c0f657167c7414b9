"""Tables of pandas and Arrow as inputs, and answers as tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adcaptum.client import Client, FeatureInfo, InputInfo, InvalidRequest
from adcaptum.client.codec.descriptions import decode_model
from adcaptum.client.codec.tables import is_table, table_rows
from tests.unit.client import canned
from tests.unit.client.canned_server import CannedServicer


class Column:
    """A column of Arrow, as far as tables need it."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)

    def to_numpy(self, *, zero_copy_only: bool) -> Any:
        assert not zero_copy_only
        return self._values


class Table:
    """An Arrow table, as far as tables need it: the library need not be installed."""

    def __init__(self, **columns: Any) -> None:
        self.column_names = list(columns)
        self._columns = list(columns.values())

    def column(self, place: int) -> Column:
        return Column(self._columns[place])


Table.__module__ = "pyarrow.lib"


def declared(*features: FeatureInfo) -> InputInfo:
    (described, *_) = decode_model(canned.model()).default.inputs
    return replace(described, features=features) if features else described


def test_columns_are_chosen_and_ordered_by_the_features() -> None:
    table = Table(area=[9, 8], patient=["a", "b"], radius=[1, 2], texture=[0.5, 0.25])
    assert is_table(table)
    np.testing.assert_array_equal(table_rows(table, declared()), [[1, 0.5, 9], [2, 0.25, 8]])


def test_whole_numbers_stay_whole() -> None:
    rows = table_rows(Table(radius=[1], texture=[2], area=[True]), declared())
    assert rows.dtype == np.int64
    assert rows.tolist() == [[1, 2, 1]]


def test_categories_may_be_named() -> None:
    colour = FeatureInfo("colour", categories=("red", "green"))
    table = Table(colour=np.array(["green", 0, "red"], object))
    assert table_rows(table, declared(colour)).tolist() == [[1], [0], [0]]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"radius": [1.0], "area": [2.0]}, r"no column 'texture'; it has 'radius', 'area'"),
        (
            {"radius": [1.0, None], "texture": [1, 2], "area": [1, 2]},
            r"inputs\[measurements\]: row 1, column 'radius': missing; must be a number",
        ),
        (
            {"radius": ["1", "x"], "texture": [1, 2], "area": [1, 2]},
            r"row 0, column 'radius': '1'; must be a number",
        ),
        ({"radius": [1.0, np.nan], "texture": [1, 2], "area": [1, 2]}, r"row 1, column 'radius'"),
    ],
)
def test_a_value_that_is_wrong_is_told_with_its_place(columns: Any, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        table_rows(Table(**columns), declared())


def test_a_category_that_there_is_not_is_told_with_those_that_there_are() -> None:
    colour = FeatureInfo("colour", categories=("red", "green", "blue", "grey"))
    with pytest.raises(InvalidRequest, match=r"'pink'; must be a number or one of 'red', .* and 1"):
        table_rows(Table(colour=["pink"]), declared(colour))


def test_a_client_takes_a_table(client: Client, servicer: CannedServicer) -> None:
    client.predict("cells", Table(area=[9], radius=[1], texture=[0.5]))  # type: ignore[arg-type]
    assert servicer.rpcs == ["GetModel", "Predict"]
    request: Any = servicer.asked[-1][1]
    assert request.inputs[0].data == np.array([[1, 0.5, 9]], np.float32).tobytes()


def test_pandas_and_arrow_in_and_out(client: Client, servicer: CannedServicer) -> None:
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"area": [9], "radius": [1], "texture": [0.5], "id": ["a"]})
    for table in (frame, pyarrow.Table.from_pandas(frame)):
        answer = client.explain("cells", table)
        request: Any = servicer.asked[-1][1]
        assert request.inputs[0].data == np.array([[1, 0.5, 9]], np.float32).tobytes()
        assert answer.to_arrow().to_pandas().equals(answer.to_pandas())
    answer = client.explain("cells", frame)
    assert answer.to_pandas()["feature"].tolist() == ["radius", "texture", "area"]
    assert answer.to_pandas()["standard_error"].tolist() == [0.01, 0.02, 0.03]
    outputs = client.predict("cells", frame).to_pandas()
    assert outputs.to_dict("list") == {
        "logits[0]": [2.0], "logits[1]": [-1.0], "label": ["malignant"]
    }  # fmt: skip
