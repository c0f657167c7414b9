"""The dry run before a model serves: its presets are questions that it can answer."""

import tomllib
from dataclasses import replace

import pytest
from torch import Tensor

from adcaptum.service import dry_run
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.models.repository import spec_table
from adcaptum.service.models.served_model import ServedModel
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import tiny_model


def with_preset(model: ServedModel, text: str, name: str = "mine") -> ServedModel:
    spec = spec_table.read(tomllib.loads(text), explain_spec_pb2.ExplainSpec())
    return replace(model, presets={**model.presets, name: spec})


SALIENCY = "methods = [{ name = 'saliency' }]\n"


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("methods = [{ name = 'salient' }]", "methods[0].name", "Did you mean 'saliency'"),
        (
            "methods = [{ name = 'lime' }, { name = 'lime', params = { n_sample = 5 } }]",
            "methods[1].params.n_sample",
            "Did you mean 'n_samples'",
        ),
        (
            "methods = [{ name = 'lime', params = { n_samples = 0.5 } }]",
            "methods[0].params.n_samples",
            "must be a whole number",
        ),
        ("methods = [{ name = 'grad_cam' }]", "site.layer", "missing; grad_cam needs one"),
        (SALIENCY + "site = { layer = 'hidde' }", "site.layer", "Did you mean 'hidden'"),
        (SALIENCY + "targets = [{ label = 'ye' }]", "targets[0].label", "no such label"),
        (SALIENCY + "targets = [{ index = { values = [5] } }]", "targets[0].index", "5"),
        (SALIENCY + "budget = { max_rows = 10_000_000 }", "budget.max_rows", "10000000"),
        (SALIENCY + "budget = { tolerance = 0.1 }", "budget.tolerance", "saliency"),
        (
            "methods = [{ name = 'integrated_gradients' }]\nbaselines = [{ named = 'zeros' }]",
            "baselines[0].named",
            "Did you mean 'zero'?",
        ),
        (SALIENCY + "output = { datatype = 'INT8' }", "output.datatype", "INT8"),
        (SALIENCY + "seed = -1", "seed", "-1"),
    ],
)
def test_a_preset_is_checked_as_a_request_is(text: str, key: str, problem: str) -> None:
    model = with_preset(tiny_model.tokens(), text)
    with pytest.raises(DeclarationError) as caught:
        dry_run.explain(model, {})
    assert str(caught.value).startswith(f"tokens/model.toml: presets.mine.{key}")
    assert problem in str(caught.value)


def test_the_default_preset_is_the_table_of_defaults() -> None:
    model = with_preset(tiny_model.tokens(), "methods = [{ name = 'grad_cam' }]", "default")
    with pytest.raises(DeclarationError, match=r"^tokens/model.toml: defaults.site.layer: missing"):
        dry_run.explain(model, {})


@pytest.mark.parametrize(
    ("methods", "key"),
    [(["saliency"], "methods"), (["feature_ablation", "saliency"], "methods[1]")],
    ids=["all of them", "one of them"],
)
def test_a_method_that_the_model_cannot_run_is_no_preset(methods: list[str], key: str) -> None:
    model, _ = tiny_model.served()
    checks = replace(model.checks, differentiable=False, obstacle="it rounds")
    listed = ", ".join(f"{{ name = '{name}' }}" for name in methods)
    blocked = with_preset(replace(model, checks=checks, presets={}), f"methods = [{listed}]")
    with pytest.raises(DeclarationError) as caught:
        dry_run.explain(blocked, {})
    assert str(caught.value).startswith(f"tiny/model.toml: presets.mine.{key}: ")
    assert "it rounds" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        SALIENCY + "targets = [{ label = 'yes' }, { top_k = 2 }]",
        SALIENCY + "output = { max_features = 2, return_outputs = true }\nseed = 3",
        "methods = [{ name = 'integrated_gradients' }]\nbaselines = [{ named = 'zero' }]",
        "methods = [{ name = 'shapley_value_sampling' }]\nbudget = { tolerance = 0.2 }",
        """
        methods = [{ name = 'expected_gradients' }]
        baselines = [{ background = { count = 2 } }]
        """,
        "methods = [{ name = 'lime' }]\nbaselines = [{ tensor = { values = [[1, 2, 3]] } }]",
        "methods = [{ name = 'lime' }]\nfeature_masks = [{ tensor = { values = [[0, 0, 1]] } }]",
        SALIENCY + "deterministic = true",
    ],
)
def test_what_a_request_may_ask_a_preset_may_ask(text: str) -> None:
    model, _ = tiny_model.served()
    dry_run.explain(with_preset(model, text), {})


def test_what_the_model_raises_refuses_it_with_the_preset() -> None:
    model, module = tiny_model.served()

    def watch(rows: Tensor) -> None:
        if bool(((rows > 0.3) & (rows < 0.7)).any()):
            raise ValueError("half a thing")

    module.watch = watch
    dry_run.explain(model, {})
    compares = with_preset(model, "methods = [{ name = 'integrated_gradients' }]")
    with pytest.raises(DeclarationError) as caught:
        dry_run.explain(compares, {})
    assert str(caught.value) == (
        "tiny: explaining its first example by the preset 'mine' fails: ValueError: half a thing"
    )
