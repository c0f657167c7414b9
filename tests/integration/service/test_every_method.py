"""Every method of the registry answers over the wire what the engine says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adcaptum.engine import INPUT, Explicand, InvalidArgument, Site, explain as run
from adcaptum.engine.methods import METHODS
from adcaptum.engine.vocabulary.method import Method, needs_layer
from adcaptum.engine.vocabulary.parameters import resolve
from adcaptum.service.models import loading
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository import stored_models as repositories
from adcaptum.service.wire.abilities import Abilities
from adcaptum.v1 import explanation_pb2, explanation_service_pb2 as pb, tensor_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.service.asking import (
    BYPASS,
    Plain,
    array,
    cells,
    digits,
    explain,
    explanations,
    index,
    mask,
    method,
    neuron,
)

Load = Callable[[str], LoadedModel]

# What asks for the same, only less of it.
QUICK: dict[str, dict[str, int]] = {
    "expected_gradients": {"n_samples": 8},
    "gradient_shap": {"n_samples": 5},
    "kernel_shap": {"n_samples": 200},
    "layer_gradient_shap": {"n_samples": 5},
    "leverage_shap": {"n_samples": 200},
    "lime": {"n_samples": 100},
    "owen_sampling": {"n_samples": 5},
    "partition_shap": {"max_evals": 60},
    "rise": {"n_samples": 30},
    "shapley_value_sampling": {"n_samples": 5},
    "smooth_grad": {"n_samples": 5},
}
MOST_ROWS = 1000
SEED = 7


@dataclass(frozen=True)
class Place:
    """Where a model is explained.

    Attributes:
        model: Its name in the repository.
        values: Examples of it.
        layer: The layer's alias; empty for the inputs.
        site: The same place for the engine.
        window: For methods that move one.
        mask: Groups of elements, for methods that would take too many rows without.
    """

    model: str
    values: NDArray[Any]
    layer: str
    site: Site
    window: tuple[int, ...]
    mask: NDArray[np.int64]


ROW = Place("cells", cells(2), "", INPUT, (3,), (np.arange(30) // 6)[None])
HIDDEN = Place("cells", cells(2), "hidden", Site("relu_1"), (8,), (np.arange(128) // 20)[None])
MAPS = Place(
    "digits",
    digits(2),
    "features",
    Site("block_2"),
    (48, 2, 2),
    (np.arange(48) // 10)[None, :, None, None].repeat(4, 2).repeat(4, 3),
)
PIXELS = Place(
    "digits",
    digits(2),
    "",
    INPUT,
    (1, 3, 3),
    (np.arange(64) // 8).reshape(1, 1, 8, 8),
)
CASES = [
    pytest.param(name, place, id=f"{name}-{place.model}-{place.layer or 'inputs'}")
    for name, method in METHODS.items()
    for place in (ROW, PIXELS, HIDDEN, MAPS)
    if (method.traits.layer != "never" if place.layer else not needs_layer(method.traits.layer))
    if place is not HIDDEN or method.traits.layer == "optional"
]


@pytest.fixture(scope="session")
def load(repository: Path) -> Load:
    loaded: dict[str, LoadedModel] = {}

    def get(name: str) -> LoadedModel:
        if name not in loaded:
            stored = repositories.open_model(repository / name)
            loaded[name] = loading.load(stored, stored.versions["1"], torch.device("cpu"))
        return loaded[name]

    return get


def prepared(name: str, place: Place, loaded: LoadedModel) -> tuple[Method, Explicand]:
    """What the engine is asked."""
    plain: dict[str, object] = dict(QUICK.get(name, {}))
    if name == "occlusion":
        plain["sliding_window_shapes"] = place.window
    made: Method = resolve(METHODS[name], plain)
    declared = loaded.declaration.inputs[0]
    baseline = loaded.baselines[declared.name][declared.default_baseline]
    x = torch.from_numpy(place.values)
    scales = None
    if place is ROW:
        background = loaded.backgrounds[declared.name]
        scales = ((background.amax(0) - background.amin(0)).unsqueeze(0),)
    explicand = Explicand(
        inputs=(x,),
        target=Explicand.of(x, target=1).target,
        baselines=(baseline if isinstance(baseline, Tensor) else torch.full_like(x[:1], baseline),),
        at=place.site,
        seed=SEED,
        scales=scales,
    )
    return made, explicand


def needs_mask(made: Method, explicand: Explicand) -> bool:
    """Whether each element for itself is too many features, or takes long."""
    if not made.traits.feature_masks:
        return False
    try:
        # How many elements a layer has only the model knows.
        return explicand.at != INPUT or made.rows(explicand) > MOST_ROWS
    except InvalidArgument:
        return True


@pytest.mark.parametrize(("name", "place"), CASES)
def test_explain_gives_what_the_library_gives(
    name: str, place: Place, stub: ExplanationServiceStub, load: Load
) -> None:
    loaded = load(place.model)
    made, explicand = prepared(name, place, loaded)
    params: dict[str, Plain] = dict(QUICK.get(name, {}))
    if name == "occlusion":
        params["sliding_window_shapes"] = place.window
    request = explain(
        place.values,
        method(name, **params),
        model=place.model,
        target=index(1),
        seed=SEED,
        # Rows that are known would not be counted.
        cache=BYPASS,
    )
    if place.layer and Abilities.of(METHODS[name]).through:
        # All neurons of the layer, as the library takes them where none is named.
        request.spec.through.CopyFrom(neuron(place.layer, 0, 0, 0, end=(48, 4, 4)))
    elif place.layer:
        request.spec.site.layer = place.layer
    if needs_mask(made, explicand):
        masked = request.spec.site if place.layer else request.spec
        masked.feature_masks.append(mask(place.mask))
        explicand = replace(explicand, feature_mask=(torch.from_numpy(place.mask),))
    expected = run(loaded.module, made, explicand)
    reply = stub.Explain(request)
    assert_same(reply, [v.numpy() for v in expected.values])
    (result,) = reply.results
    assert result.rows_used == expected.rows_used


def numbers(one: explanation_pb2.Explanation, place: int) -> tensor_pb2.Tensor:
    """The numbers of an explanation: of its elements, or of pairs of features."""
    pairs = one.HasField("interactions")
    return one.interactions.values if pairs else one.attributions[place].values


def assert_same(reply: pb.ExplainResponse, expected: list[NDArray[Any]]) -> None:
    for place, values in enumerate(expected):
        got = np.stack([array(numbers(each, place)) for each in explanations(reply)])
        assert got.shape == values.shape
        np.testing.assert_allclose(got, values, atol=2e-4 * np.abs(values).max() + 1e-7)
