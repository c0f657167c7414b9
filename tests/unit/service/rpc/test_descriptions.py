"""Descriptions of models, methods and the server."""

import importlib.metadata
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from adcaptum.engine.methods import METHODS
from adcaptum.service.errors import ModelFailed, NotFound
from adcaptum.service.models import checks
from adcaptum.service.models.catalogue.catalogue import Catalogue
from adcaptum.service.models.declaration import DEFAULT_PRESET, InputDeclaration
from adcaptum.service.models.repository.stored_models import StoredModel, Version
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.processes.place import Place
from adcaptum.service.rpc import descriptions
from adcaptum.v1 import explain_spec_pb2, method_pb2, model_pb2
from tests.unit.service import tiny_model

PRESETS = {
    "exact": explain_spec_pb2.Preset(
        name="exact",
        description="To the last digit.",
        spec=explain_spec_pb2.ExplainSpec(
            methods=[method_pb2.MethodSpec(name="integrated_gradients")],
            budget=explain_spec_pb2.Budget(tolerance=0.001),
        ),
    )
}


def catalogue(served: ServedModel, *, ready: bool = True) -> Catalogue:
    """A catalogue of one model with three versions, of which the default is version 2."""
    declaration = served.loaded.declaration
    versions = {name: Version(name, Path(name)) for name in ("1", "2", "10")}
    made = Catalogue((declaration.name,))
    made.entry(declaration.name).set_stored(
        StoredModel(declaration, Path(), MappingProxyType(versions), "2")
    )
    if ready:
        made.set_ready(declaration.name, dict.fromkeys(versions, served), {})
    return made


def served(**changes: object) -> ServedModel:
    model, _ = tiny_model.served()
    table = InputDeclaration(
        "x",
        "tabular",
        "FP32",
        (-1, tiny_model.FEATURES),
        features=("age", "sex", "size"),
        units=("years", "", "m"),
        categories=MappingProxyType({"sex": ("female", "male")}),
    )
    declaration = replace(
        model.loaded.declaration,
        description="A tiny one.",
        inputs=(table,),
        aliases={"stable": "1"},
        accuracy=0.0,
        max_rows=500,
        max_examples=7,
        **changes,  # type: ignore[arg-type]
    )
    loaded = replace(
        model.loaded,
        declaration=declaration,
        backgrounds={"x": torch.tensor([[20.0, 0.0, 1.5], [40.0, 1.0, 1.5]])},
    )
    return ServedModel.of(loaded, checks.check(loaded))


def describe(
    made: Catalogue, reference: model_pb2.ModelRef | None = None, *, layers: bool = True
) -> model_pb2.Model:
    (entry,) = made
    return descriptions.model(entry, reference, Place("0", "cpu"), layers=layers)


def test_a_model_has_all_its_versions_in_order() -> None:
    model = describe(catalogue(served()))
    assert (model.name, model.description) == ("tiny", "A tiny one.")
    assert (model.default_version, dict(model.aliases)) == ("2", {"stable": "1"})
    assert [each.state for each in model.versions] == [model_pb2.MODEL_STATE_READY] * 3
    assert len(model.versions) == 3


@pytest.mark.parametrize(
    "reference",
    [model_pb2.ModelRef(name="tiny", version="1"), model_pb2.ModelRef(name="tiny", alias="stable")],
    ids=["version", "alias"],
)
def test_a_version_that_is_named_comes_alone(reference: model_pb2.ModelRef) -> None:
    made = catalogue(served(), ready=False)
    model = describe(made, reference)
    assert [each.identity.version for each in model.versions] == ["1"]
    assert model.default_version == "2"


def test_a_version_that_does_not_exist_is_told() -> None:
    with pytest.raises(NotFound, match="There is no version '3'"):
        describe(catalogue(served()), model_pb2.ModelRef(name="tiny", version="3"))


def test_a_loaded_version_says_what_was_found() -> None:
    version = describe(catalogue(served())).versions[0]
    assert version.identity.digest == "0"
    assert version.HasField("load_time")
    assert version.load_time.seconds > 1_700_000_000
    assert version.checks.HasField("independent")
    assert version.checks.independent
    assert version.checks.HasField("differentiable")
    assert version.checks.differentiable
    assert (version.limits.max_rows, version.limits.max_examples) == (500, 7)
    assert version.HasField("accuracy")
    assert version.accuracy == 0.0
    (placement,) = version.placements
    assert (placement.worker, placement.device) == ("0", "cpu")
    assert (placement.state, placement.reason) == (model_pb2.MODEL_STATE_READY, "")
    assert placement.variant == "as loaded"


def test_columns_have_units_categories_and_what_the_background_set_shows() -> None:
    (given,) = describe(catalogue(served())).versions[0].inputs
    assert given.kind == model_pb2.INPUT_KIND_TABULAR
    assert list(given.shape) == [-1, 3]
    assert given.background_rows == 2
    assert [each.name for each in given.features] == ["age", "sex", "size"]
    age, sex, size = given.features
    assert (age.unit, age.minimum, age.maximum) == ("years", 20.0, 40.0)
    assert (age.mean, age.standard_deviation) == (30.0, 10.0)
    assert list(sex.categories) == ["female", "male"]
    # Without a spread is not without a value.
    assert size.HasField("standard_deviation")
    assert size.standard_deviation == 0.0


def test_what_only_loading_shows_is_absent_before() -> None:
    version = describe(catalogue(served(), ready=False)).versions[0]
    assert version.state == model_pb2.MODEL_STATE_LOADING
    assert not version.HasField("load_time")
    assert not version.HasField("checks")
    assert not version.layers
    assert not version.inputs[0].features[0].HasField("minimum")
    assert version.placements[0].variant == ""
    assert version.inputs[0].name == "x"


def test_a_model_whose_folder_cannot_be_read_has_its_state_and_reason() -> None:
    made = Catalogue(("broken:model",))
    made.entry("broken:model").set_failed("its name has a colon")
    model = describe(made)
    (version,) = model.versions
    assert (version.identity.name, version.identity.version) == ("broken:model", "")
    assert version.state == model_pb2.MODEL_STATE_FAILED
    assert version.reason == "its name has a colon"
    assert version.placements[0].state == model_pb2.MODEL_STATE_FAILED


def test_a_version_that_failed_stands_beside_those_that_serve() -> None:
    model = served()
    made = catalogue(model)
    made.set_ready("tiny", {"1": model, "2": model}, {"10": "its weights do not fit"})
    first, second, failed = describe(made).versions
    assert first.state == second.state == model_pb2.MODEL_STATE_READY
    assert failed.identity.version == "10"
    assert (failed.state, failed.reason) == (
        model_pb2.MODEL_STATE_FAILED,
        "its weights do not fit",
    )
    assert failed.placements[0].state == model_pb2.MODEL_STATE_FAILED
    assert not failed.HasField("load_time")
    assert not failed.HasField("checks")
    assert made.find(model_pb2.ModelRef(name="tiny")) is model
    with pytest.raises(ModelFailed, match=r"Version '10' of model 'tiny' .*: its weights do not"):
        made.find(model_pb2.ModelRef(name="tiny", version="10"))


def test_layers_come_where_they_are_wanted() -> None:
    made = catalogue(tiny_model.tokens())
    version = describe(made).versions[0]
    assert [(each.name, each.alias, each.type) for each in version.layers] == [
        ("embedding", "", "Embedding"),
        ("hidden", "middle", "Linear"),
        ("classify", "", "Linear"),
    ]
    assert list(version.layers[1].shape) == [5]
    assert version.inputs[0].embedding_layer == "embedding"
    assert not describe(made, layers=False).versions[0].layers


def test_presets_come_with_the_default_first() -> None:
    version = describe(catalogue(served(presets=PRESETS))).versions[0]
    assert [each.name for each in version.presets] == [DEFAULT_PRESET, "exact"]
    assert version.default_preset == DEFAULT_PRESET
    default, exact = version.presets
    # The owner names no default.
    assert [each.name for each in default.spec.methods] == ["integrated_gradients"]
    assert exact == PRESETS["exact"]


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        ("tensor", ["FP32"]),
        ("tabular", ["FP32"]),
        ("image", ["FP32", "UINT8", "BYTES"]),
        ("text", ["BYTES"]),
    ],
)
def test_an_input_says_which_datatypes_it_takes(kind: str, accepted: list[str]) -> None:
    declared = InputDeclaration("x", kind, "FP32", (-1, 3))  # type: ignore[arg-type]
    assert list(descriptions.accepted_datatypes(declared)) == accepted


def test_methods_say_whether_a_model_can_run_them() -> None:
    model, _ = tiny_model.served()
    blocked = replace(
        model, checks=replace(model.checks, differentiable=False, obstacle="it has none")
    )
    by_name = {each.name: each for each in descriptions.methods(blocked)}
    assert set(by_name) == set(METHODS)
    saliency, ablation = by_name["saliency"].availability, by_name["feature_ablation"].availability
    assert saliency.HasField("available")
    assert not saliency.available
    assert saliency.reason == "it needs gradients, and it has none"
    assert ablation.available
    assert ablation.reason == ""


def test_without_a_model_methods_do_not_say_it() -> None:
    assert not any(each.HasField("availability") for each in descriptions.methods(None))


def test_the_server_tells_its_version() -> None:
    told = descriptions.server()
    assert told.version == importlib.metadata.version("adcaptum")
    assert list(told.extensions) == ["model_lifecycle"]
