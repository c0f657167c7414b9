"""Inputs without elements: gradients of nothing are nothing, and nothing cannot be perturbed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adcaptum.engine import INPUT, METHODS, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.vocabulary.method import Method, needs_layer

# What is switched on and off, enumerated, shown or hidden: nothing of it is there.
REFUSED = {
    "feature_ablation", "feature_permutation", "kernel_shap", "leverage_shap", "lime", "occlusion",
    "owen_sampling", "partition_shap", "rise", "shapley_interactions", "shapley_value_sampling",
    "shapley_values",
}  # fmt: skip
# These look at each input by itself.
REFUSED_BESIDE_OTHERS = {"occlusion", "rise"}
AT_INPUTS = [name for name, method in METHODS.items() if not needs_layer(method.traits.layer)]
AT_LAYERS = [name for name, method in METHODS.items() if method.traits.layer != "never"]


class Joined(nn.Module):
    """All inputs' elements, and one of its own, so that there is always something."""

    def __init__(self) -> None:
        super().__init__()
        self.joint, self.last = nn.Identity(), nn.LazyLinear(3)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([t.flatten(1) for t in inputs], 1)
        given: torch.Tensor = self.joint(joined)
        return self.last(torch.cat([given, 1 + given.sum(1, keepdim=True)], 1))


def question(
    *shapes: tuple[int, ...], at: Site = INPUT, tolerance: float | None = None
) -> Explicand:
    inputs = tuple(torch.ones(shape) for shape in shapes)
    return Explicand.of(inputs, target=0, at=at, tolerance=tolerance)


def explained(method: Method, explicand: Explicand) -> tuple[torch.Tensor, ...]:
    """The answer's values, of a model that has seen such inputs."""
    model = Joined().eval()
    model(*explicand.inputs)
    return explain(model, method, explicand).values


def assert_nothing(values: tuple[torch.Tensor, ...], explicand: Explicand) -> None:
    assert [v.shape for v in values] == [t.shape for t in explicand.inputs]
    assert all(v.isfinite().all() for v in values)


@pytest.mark.parametrize("shape", [(2, 0), (2, 1, 0, 4)], ids=str)
@pytest.mark.parametrize("name", AT_INPUTS)
def test_nothing_has_no_gradients_and_cannot_be_perturbed(
    name: str, shape: tuple[int, ...]
) -> None:
    method = METHODS[name]()
    for tolerance in (None, 0.1) if method.traits.tolerance else (None,):
        explicand = question(shape, tolerance=tolerance)
        if name not in REFUSED:
            assert_nothing(explained(method, explicand), explicand)
            assert method.rows(explicand) > 0
            continue
        with pytest.raises(InvalidArgument, match=r"inputs.* is of shape .* has an element"):
            explained(method, explicand)


@pytest.mark.parametrize("name", sorted(REFUSED - {"rise"}))
def test_how_many_rows_nothing_would_take_is_no_question(name: str) -> None:
    with pytest.raises(InvalidArgument, match="has an element"):
        METHODS[name]().rows(question((2, 0)))


@pytest.mark.parametrize("name", [n for n in AT_INPUTS if n != "shapley_interactions"])
def test_an_input_without_elements_beside_another_has_no_values(name: str) -> None:
    explicand = question((2, 3), (2, 1, 0, 4))
    if name not in REFUSED_BESIDE_OTHERS:
        assert_nothing(explained(METHODS[name](), explicand), explicand)
        return
    with pytest.raises(InvalidArgument, match=r"inputs\[1\] is of shape"):
        explained(METHODS[name](), explicand)


@pytest.mark.parametrize("name", AT_LAYERS)
def test_a_layer_without_elements_is_explained_or_refused_as_one(name: str) -> None:
    method = METHODS[name]()
    for tolerance in (None, 0.1) if method.traits.tolerance else (None,):
        explicand = question((2, 0), at=Site("joint"), tolerance=tolerance)
        assert method.rows(explicand) > 0
        if name in REFUSED | {"score_cam"}:
            with pytest.raises(InvalidArgument, match=r"^layer"):
                explained(method, explicand)
            continue
        (values,) = explained(method, explicand)
        assert len(values) == 2
        assert values.isfinite().all()


def test_no_examples_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"inputs\[0\] is a tensor of shape \(0, 3\)"):
        question((0, 3))
