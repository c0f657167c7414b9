"""Presets in a model.toml: questions in their JSON form."""

import tomllib
from collections.abc import Mapping

import pytest
from google.protobuf import json_format

from adcaptum.service.models.declaration import DEFAULT_PRESET, DeclarationError
from adcaptum.service.models.repository import preset_tables
from adcaptum.service.models.repository.toml_table import TomlTable
from adcaptum.v1 import explain_spec_pb2

EVERYTHING = """
[defaults]
methods = [{ name = "saliency", params = { abs = false } }, { name = "saliency" }]
[presets.exact]
description = "To the last digit."
methods = [{ name = "integrated_gradients", params = { n_steps = 50, method = "riemann_left" } }]
targets = [{ top_k = 2 }, { index = { values = [1] } }, { argmax = {} }]
baselines = [{ input = "x", tensor = { values = [[1, 2.5, 3]] } }]
budget = { max_rows = 500, tolerance = 0.01 }
seed = 3
deterministic = true
[presets.exact.site]
layer = "hidden"
[presets.exact.output]
max_features = 3
return_predictions = true
channel_reduction = "CHANNEL_REDUCTION_SUM"
"""


def read(text: str) -> Mapping[str, explain_spec_pb2.Preset]:
    return preset_tables.read(TomlTable(tomllib.loads(text), "table/model.toml"))


def test_every_field_of_a_question_can_stand_in_a_preset() -> None:
    presets = read(EVERYTHING)
    assert list(presets) == [DEFAULT_PRESET, "exact"]
    assert [each.name for each in presets[DEFAULT_PRESET].spec.methods] == ["saliency"] * 2
    exact = presets["exact"]
    assert (exact.name, exact.description) == ("exact", "To the last digit.")
    assert json_format.MessageToDict(exact.spec, preserving_proto_field_name=True) == {
        "methods": [
            {
                "name": "integrated_gradients",
                "params": {"n_steps": 50.0, "method": "riemann_left"},
            }
        ],
        "targets": [{"top_k": 2}, {"index": {"values": [1]}}, {"argmax": {}}],
        "baselines": [{"input": "x", "tensor": {"values": [[1.0, 2.5, 3.0]]}}],
        "site": {"layer": "hidden"},
        "budget": {"max_rows": 500, "tolerance": 0.01},
        "output": {
            "max_features": 3,
            "return_predictions": True,
            "channel_reduction": "CHANNEL_REDUCTION_SUM",
        },
        "seed": "3",
        "deterministic": True,
    }


def test_without_tables_there_are_no_presets() -> None:
    assert read("") == {}


def test_defaults_without_methods_leave_the_method_to_the_server() -> None:
    assert read("[defaults]\nseed = 1")[DEFAULT_PRESET].spec.seed == 1


METHODS = 'methods = [{ name = "saliency" }]\n'


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("[defaults]", "defaults.methods", "missing"),
        ("[presets.quick]", "presets.quick.methods", "missing; must be a list of methods, such as"),
        ('[defaults]\nmethod = "lime"', "defaults.method", "'lime': it is a part of 'methods'"),
        ("[defaults.params]\nn = 1", "defaults.params", "{'n': 1}: it is a part of 'methods'"),
        ("defaults = 1", "defaults", "1 is not a table"),
        ("presets = 1", "presets", "1 is not a table"),
        ("[presets]\nquick = 1", "presets.quick", "1 is not a table"),
        ("[presets.default]\n" + METHODS, "presets.default", "is the table [defaults]"),
        ("[presets.lime]\n" + METHODS, "presets.lime", "'lime' is the name of a method"),
        ("[presets.'a:b']\n" + METHODS, "presets.a:b", "'a:b' is not of the form [A-Za-z0-9]"),
        (f"[presets.{'a' * 129}]\n", "presets." + "a" * 129, "is not of the form"),
        ("[presets.q]\ndescription = 1\n" + METHODS, "presets.q.description", "1 is not a text"),
        ("[presets.q]\nmetods = []", "presets.q.metods", "Did you mean 'methods'?"),
        ("[presets.q]\nmethods = {}", "presets.q.methods", "{} is not a list"),
        ("[presets.q]\nmethods = ['lime']", "presets.q.methods[0]", "'lime' is not a table"),
        ("[presets.q]\nmethods = [{ nam = 'x' }]", "presets.q.methods[0].nam", "mean 'name'?"),
        (
            "[presets.q]\nmethods = [{ name = 'x', params = { n = inf } }]",
            "presets.q.methods[0].params.n",
            "inf is not a finite number",
        ),
        (
            "[presets.q]\nmethods = [{ name = 'x', params = 3 }]",
            "presets.q.methods[0].params",
            "3 is not a table",
        ),
        ("[presets.q]\nseed = 1.5", "presets.q.seed", "1.5 is not a whole number"),
        ("[presets.q]\nseed = true", "presets.q.seed", "True is not a whole number"),
        ("[presets.q]\ndeterministic = 1", "presets.q.deterministic", "1 is not true or false"),
        (
            "[presets.q]\nbudget = { max_rows = 3_000_000_000 }",
            "presets.q.budget.max_rows",
            "3000000000 is not from -2147483648 to 2147483647",
        ),
        (
            "[presets.q]\nbudget = { tolerance = '1 %' }",
            "presets.q.budget.tolerance",
            "'1 %' is not a finite number",
        ),
        (
            "[presets.q]\noutput = { channel_reduction = 'SUM' }",
            "presets.q.output.channel_reduction",
            "'SUM' is not one of 'CHANNEL_REDUCTION_UNSPECIFIED', 'CHANNEL_REDUCTION_NONE'",
        ),
        (
            "[presets.q]\ntargets = [{ top_k = 1, label = 'a' }]",
            "presets.q.targets[0].label",
            "only one of 'top_k' and 'label' can be given",
        ),
        (
            "[presets.q]\nbaselines = [{ tensor = { values = 3 } }]",
            "presets.q.baselines[0].tensor.values",
            "3 is not a list",
        ),
        (
            "[presets.q]\nbaselines = [{ tensor = { values = [[1979-05-27]] } }]",
            "presets.q.baselines[0].tensor.values[0][0]",
            "is not a finite number, a text",
        ),
        (
            "[presets.q]\nbaselines = [{ tensor = { data = 'é' } }]",
            "presets.q.baselines[0].tensor.data",
            "'é' is not a text in base64",
        ),
    ],
)
def test_an_error_names_the_key_the_value_and_what_is_allowed(
    text: str, key: str, problem: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        read(text)
    assert str(caught.value).startswith(f"table/model.toml: {key}: ")
    assert problem in str(caught.value)
