"""Models by the names that requests give."""

import pytest

from adcaptum.service.errors import InvalidRequest, NotFound
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.v1 import model_pb2


def test_a_request_without_a_model_lacks_it() -> None:
    with pytest.raises(InvalidRequest, match=r"^model\.name: missing\. There are 'a', 'b'\.$"):
        Catalogue(("a", "b")).find(model_pb2.ModelRef())


def test_another_name_is_not_found() -> None:
    with pytest.raises(NotFound, match="There is no model 'x'"):
        Catalogue(("a", "b")).find(model_pb2.ModelRef(name="x"))
