"""The part of the contract that no protobuf file has: it may only grow."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from adcaptum.service.errors import Reason
from adcaptum.service.requests.questions import presets
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb
from tests.unit.contract.promises import grown, kept, promised

SECTIONS = ("reasons", "metadata", "methods", "json")


def broken(old: Any, new: Any, path: str) -> Iterator[str]:
    """What was promised and is no longer so."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            if key in new:
                yield from broken(value, new[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is gone"
    elif isinstance(old, list) and isinstance(new, list):
        yield from (f"{path}: {each} is gone" for each in old if each not in new)
    elif old != new:
        yield f"{path} was {old!r} and is {new!r}"


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_promised_is_kept(section: str) -> None:
    assert not list(broken(promised()[section], kept()[section], section))


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_new_is_promised(section: str) -> None:
    wanted = grown(promised()[section], kept()[section])
    assert wanted == promised()[section], "run python -m tests.unit.contract.promises"


def test_a_promise_that_is_broken_is_noticed() -> None:
    old = {"a": {"type": "INTEGER", "default": 50}, "b": ["x", "y"], "c": "INVALID_ARGUMENT"}
    new = {"a": {"type": "INTEGER", "default": 60}, "b": ["y", "z"]}
    assert list(broken(old, new, "s")) == [
        "s.a.default was 50 and is 60",
        "s.b: x is gone",
        "s.c is gone",
    ]


def test_the_list_has_something_of_everything() -> None:
    listed = promised()
    assert listed["reasons"].keys() == {each.value for each in Reason}
    assert listed["methods"]["integrated_gradients"]["n_steps"]["default"] == 50
    assert "baseline_output" in listed["json"]["Explanation"]
    assert "x-caller-id" in listed["metadata"]


RULE = json.loads((Path(__file__).parent / "preset_rule.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RULE)
def test_presets_are_overridden_by_their_rule(name: str) -> None:
    case = RULE[name]
    preset = json_format.ParseDict(case["preset"], explain_spec_pb2.ExplainSpec())
    request = json_format.ParseDict(
        {key: case[key] for key in ("spec",) if key in case}, pb.ExplainRequest()
    )
    asked = presets.effective_spec(request, {presets.DEFAULT: preset})
    assert json_format.MessageToDict(asked, preserving_proto_field_name=True) == case["question"]


def test_the_page_of_the_contract_has_each_reason_beside_its_status() -> None:
    page = (Path(__file__).parents[3] / "proto" / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ")]
    told = {word: code.strip() for code, reasons in rows for word in re.findall("[A-Z_]+", reasons)}
    for reason, code in promised()["reasons"].items():
        assert told.get(reason) == code, reason
