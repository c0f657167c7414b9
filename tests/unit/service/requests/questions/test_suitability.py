"""Which methods suit which models."""

from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from adcaptum.engine import EngineError, Explicand, Site, explain
from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.method import needs_layer
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.service import dry_run
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import DeclarationError
from adcaptum.service.requests.questions import suitability
from adcaptum.service.rpc.descriptions import methods
from adcaptum.service.wire.abilities import Abilities
from adcaptum.v1 import explain_spec_pb2
from tests.unit.service import asking
from tests.unit.service.tiny_model import IDS, served, tokens

QUICK = {"rise": {"n_samples": 20}, "expected_gradients": {"n_samples": 20}}
NEVER = Abilities("inner", gradient=True, layer="never", baseline=False, background=False,
                  distribution=False, starts=False, through=False, of_inputs=False,
                  alone=True)  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_of_token_ids_what_is_listed_can_run_and_what_is_not_cannot(name: str) -> None:
    model = tokens()
    (listed,) = (each for each in methods(model) if each.name == name)
    method = resolve(METHODS[name], QUICK.get(name, {}))
    at = (
        Site("embedding")
        if needs_layer(method.traits.layer)
        else model.site(gradient=method.traits.gradient)
    )
    explicand = Explicand.of(IDS, target=1, baselines=torch.zeros_like(IDS[:1]), at=at)
    if not listed.availability.reason:
        assert explain(model.loaded.module, method, explicand).values
    else:
        assert listed.availability.available is False
        with pytest.raises(EngineError):
            explain(model.loaded.module, method, explicand)


def test_what_explains_layers_does_not_suit_a_model_without() -> None:
    listed = {each.name: each for each in methods(served()[0])}
    assert not listed["grad_cam"].availability.available
    assert listed["grad_cam"].availability.reason == "it needs a layer, and the model has none"
    assert listed["saliency"].availability.available


def test_what_explains_inputs_by_gradients_does_not_suit_token_ids() -> None:
    assert "at the layer 'embedding'" in suitability.obstacle(NEVER, tokens())


def test_what_needs_several_examples_is_told_from_what_does_not() -> None:
    not_alone = {name for name, each in METHODS.items() if not Abilities.of(each).alone}
    assert not_alone == {"feature_permutation"}


def test_what_compares_examples_does_not_suit_texts() -> None:
    model = tokens()
    permutation = Abilities.of(METHODS["feature_permutation"])
    assert not suitability.obstacle(permutation, model)
    texts = replace(model, loaded=replace(model.loaded, text=cast("Any", object())))
    assert "one by one" in suitability.obstacle(permutation, texts)


def test_a_layer_for_what_takes_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="inputs only: none of 'middle'") as caught:
        suitability.check_site(NEVER, Site("hidden"), tokens())
    assert caught.value.violations[0].field == "spec.site.layer"


def test_what_needs_a_layer_is_no_preset_without_one() -> None:
    model = tokens()
    cam = explain_spec_pb2.ExplainSpec(methods=[asking.method("activation")])
    with pytest.raises(DeclarationError, match=r"presets\.cam\.site.*needs one: 'middle'"):
        dry_run.explain(replace(model, presets={**model.presets, "cam": cam}), {})
    cam.site.layer = "middle"
    dry_run.explain(replace(model, presets={**model.presets, "cam": cam}), {})


def test_layers_are_named_by_their_aliases_first() -> None:
    assert tokens().some_layers() == "'middle', 'embedding', 'classify'"
    assert tokens().some_layers(most=1) == "'middle' and others"


def test_what_wraps_a_method_can_take_what_that_can() -> None:
    plain = Abilities.of(resolve(METHODS["smooth_grad"], {}))
    assert (plain.layer, plain.baseline, plain.background) == ("optional", False, False)
    cam = resolve(METHODS["grad_cam"], {})
    wrapped = Abilities.of(resolve(METHODS["smooth_grad"], {"of": cam}))
    assert wrapped.layer == "required"
    shap = resolve(METHODS["gradient_shap"], {})
    noisy = Abilities.of(resolve(METHODS["smooth_grad"], {"of": shap}))
    assert (noisy.background, noisy.distribution) == (True, True)
