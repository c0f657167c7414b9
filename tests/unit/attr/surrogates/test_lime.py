"""Lime, its frame, and KernelShap."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from captum._utils.models.linear_model import (
    SkLearnLasso as CaptumsLasso,
    SkLearnLinearRegression as CaptumsRegression,
)
from captum.attr import Lime as CaptumsLime, LimeBase as CaptumsBase
from captum.attr._core.lime import get_exp_kernel_similarity_function as captums_similarity
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from adcaptum.attr import KernelShap, Lime, LimeBase, get_exp_kernel_similarity_function
from adcaptum.attr.surrogates.lime_functions import (
    default_from_interp_rep_transform,
    default_perturb_func,
)
from adcaptum.attr.surrogates.linear_models import (
    PenalisedRegression,
    SGDLasso,
    SGDLinearRegression,
    SGDRidge,
    SkLearnLasso,
    SkLearnLinearRegression,
    SkLearnRidge,
)
from tests.captum_oracle import assert_same, captums, ours, silently

SLOPES = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.25])
X = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
GROUPS = torch.tensor([[0, 0, 1, 2, 2]])


def curved(x: Tensor) -> Tensor:
    return (x @ SLOPES + x[:, 0] * x[:, 1]).sigmoid()


def listed(*shown: list[int]) -> Any:
    """A generator of these coalitions."""

    def generate(_inputs: Any, **_kwargs: Any) -> Iterator[Tensor]:
        for one in shown:
            yield torch.tensor([one])

    return generate


EVERY = [[n >> i & 1 for i in range(5)] for n in range(32)]
OF_GROUPS = [[n >> i & 1 for i in range(3)] for n in range(8)]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("shape", [True, False])
@pytest.mark.parametrize("per_eval", [1, 5])
def test_with_the_same_samples_it_is_captums(
    distance: Any, rows: int, per_eval: int, *, shape: bool
) -> None:
    arguments = {
        "baselines": 0.3,
        "feature_mask": GROUPS,
        "n_samples": 8,
        "return_input_shape": shape,
        "perturbations_per_eval": per_eval,
    }
    mine = Lime(
        curved,
        SkLearnLasso(alpha=1e-3),
        get_exp_kernel_similarity_function(distance, 0.8),
        listed(*OF_GROUPS),
    )
    theirs = CaptumsLime(
        curved,
        CaptumsLasso(alpha=1e-3),
        captums_similarity(distance, 0.8),
        listed(*OF_GROUPS),
    )
    assert_same(
        silently(mine.attribute, X[:rows], **arguments),
        silently(theirs.attribute, X[:rows], **arguments),
    )


def test_the_default_surrogate_is_near_captums_with_many_samples() -> None:
    torch.manual_seed(0)
    theirs = silently(CaptumsLime(curved, CaptumsRegression()).attribute, X[:1], n_samples=1500)
    answer = Lime(curved).attribute(X[:1], n_samples=1500)
    assert isinstance(answer, Tensor)
    torch.testing.assert_close(answer, theirs, rtol=0.1, atol=0.02)


def test_probabilities_are_explained() -> None:
    """B24: Captum's penalty of 0.01 is larger than any effect, so that all values are zero."""
    x = torch.ones(1, 16)

    def forward(t: Tensor) -> Tensor:
        return (0.01 * t.sum(1)).sigmoid()

    torch.manual_seed(0)
    assert not captums("Lime", (forward,), x, n_samples=300).any()
    answer = Lime(forward).attribute(x, n_samples=300)
    assert isinstance(answer, Tensor)
    torch.testing.assert_close(answer, torch.full((1, 16), 0.0025), rtol=0.1, atol=0)


def test_an_output_that_never_changes_is_told() -> None:
    with pytest.warns(UserWarning, match="zero to every feature"):
        answer = Lime(lambda x: torch.ones(len(x))).attribute(X)
    assert isinstance(answer, Tensor)
    assert not answer.any()


@pytest.mark.parametrize("name", ["Lime", "KernelShap"])
def test_masks_of_each_example_and_numbers_from_anywhere_are_taken(name: str) -> None:
    masks = torch.tensor([[3, 3, 4, 6, 6], [6, 4, 4, 3, 3], [3, 3, 3, 3, 3]])

    def additive(x: Tensor) -> Tensor:
        return x @ SLOPES

    whole = ours(name, (additive,), X, feature_mask=masks, n_samples=400)
    numbered = ours(
        name, (additive,), X, feature_mask=masks, n_samples=400, return_input_shape=False
    )
    assert numbered.shape == (3, 4)  # 3, 4, 5 and 6, of which nothing is 5
    assert not numbered[:, 2].any()
    exact = torch.zeros(3, 4).scatter_add(1, masks - 3, X * SLOPES)
    torch.testing.assert_close(numbered, exact, rtol=0.05, atol=0.05)
    torch.testing.assert_close(whole, exact.gather(1, masks - 3), rtol=0.05, atol=0.05)


def test_a_mask_that_does_not_start_at_zero_is_told() -> None:
    with pytest.warns(UserWarning, match="moved to start at 0"):
        Lime(curved).attribute(X, feature_mask=GROUPS + 2)


def test_very_many_features_are_told() -> None:
    one = torch.ones(1, 10_001)
    lime = Lime(lambda t: t[:, 0], Nothing(), perturb_func=lambda *_args, **_kwargs: one)
    with pytest.warns(UserWarning, match="10001 features"):
        lime.attribute(one, n_samples=1)


class Nothing:
    """A surrogate that keeps what it was given."""

    def __init__(self) -> None:
        self.data: tuple[Tensor, ...] = ()
        self.fits = 0

    def fit(self, train_data: DataLoader[Any], **_kwargs: object) -> None:
        self.fits += 1
        (self.data,) = (tuple(batch) for batch in train_data)

    def representation(self) -> Tensor:
        return self.data[0].mean(0, keepdim=True)


def test_no_sample_at_all_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no sample"):
        Lime(curved, Nothing(), perturb_func=listed()).attribute(X[:1])


def test_the_surrogate_gets_samples_outputs_and_weights_in_one_batch() -> None:
    surrogate = Nothing()
    Lime(curved, surrogate, lambda *_args, **_kwargs: 0.5, listed(*EVERY)).attribute(
        X[:1], n_samples=32
    )
    samples, outputs, weights = surrogate.data
    assert samples.tolist() == EVERY
    torch.testing.assert_close(outputs, curved(samples * X[:1]))
    assert weights.tolist() == [0.5] * 32
    assert {t.dtype for t in surrogate.data} == {torch.float32}


def test_functions_get_what_captum_gives_them() -> None:
    seen: dict[str, Any] = {}

    def similarity(
        original: Tensor, perturbed: Tensor, interpretable: Tensor, **kwargs: Any
    ) -> Tensor:
        seen.update(kwargs, original=original, perturbed=perturbed, interpretable=interpretable)
        return torch.tensor(1.0)

    Lime(curved, similarity_func=similarity).attribute(X[:1], 0.5, feature_mask=GROUPS, n_samples=3)
    assert sorted(seen) == [
        "baselines",
        "feature_mask",
        "interpretable",
        "num_interp_features",
        "original",
        "perturbed",
    ]
    assert seen["num_interp_features"] == 3
    assert seen["interpretable"].shape == (1, 3)
    expected = default_from_interp_rep_transform(seen["interpretable"], X[:1], **seen)
    assert isinstance(expected, Tensor)
    assert torch.equal(seen["perturbed"], expected)


def test_a_generator_that_ends_early_is_told() -> None:
    with pytest.warns(UserWarning, match="ended after 8 of 50"):
        Lime(curved, Nothing(), perturb_func=listed(*OF_GROUPS)).attribute(
            X[:1], feature_mask=GROUPS, n_samples=50
        )


def test_a_bar_of_samples_reaches_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    Lime(curved, Nothing()).attribute(
        X[:1], n_samples=9, perturbations_per_eval=2, show_progress=True
    )
    assert "Lime attribution: 100%" in capsys.readouterr().err


def test_several_examples_with_a_model_of_ones_own_are_told() -> None:
    surrogate = Nothing()
    with pytest.warns(UserWarning, match="for each example in turn"):
        Lime(curved, surrogate).attribute(X, n_samples=4)
    assert surrogate.fits == 3


@pytest.mark.parametrize("construct", [(), (SkLearnLasso(alpha=0.01),)])
def test_several_outputs_are_refused(construct: tuple[Any, ...]) -> None:
    for attribution in (Lime(lambda x: x[:, :2], *construct), KernelShap(lambda x: x[:, :2])):
        with pytest.raises(AssertionError, match="target"):
            attribution.attribute(X)


def test_the_frame_with_samples_in_the_inputs_space_is_captums() -> None:
    shifts = torch.randn(20, 1, 5, generator=torch.Generator().manual_seed(1))

    def arguments() -> tuple[Any, ...]:
        def perturb(original: Tensor, **_kwargs: Any) -> Iterator[Tensor]:
            yield from (original + shift for shift in shifts)

        def interpretable(changed: Tensor, original: Tensor, **_kwargs: Any) -> Tensor:
            return (changed > original).float()

        def similarity(original: Tensor, changed: Tensor, _sample: Tensor, **kwargs: Any) -> float:
            return float((-(original - changed).norm() * kwargs["scale"]).exp())

        return similarity, perturb, False, None, interpretable

    for per_eval in (1, 3):
        more: dict[str, Any] = {"n_samples": 20, "perturbations_per_eval": per_eval, "scale": 0.5}
        assert_same(
            LimeBase(curved, SkLearnLinearRegression(), *arguments()).attribute(X[:1], **more),
            CaptumsBase(curved, CaptumsRegression(), *arguments()).attribute(X[:1], **more),
            1e-4,
        )


def test_the_frame_explains_a_batch_as_one_thing() -> None:
    def construct(regression: Any) -> tuple[Any, ...]:
        return (
            lambda x: curved(x).sum(),
            regression,
            get_exp_kernel_similarity_function(),
            listed(*EVERY),
            True,
            lambda sample, original, **_kwargs: sample * original,
            None,
        )

    mine = LimeBase(*construct(SkLearnLinearRegression())).attribute(X, n_samples=32)
    theirs = CaptumsBase(*construct(CaptumsRegression())).attribute(X, n_samples=32)
    assert_same(mine, theirs, 1e-4)


def test_the_frame_takes_several_inputs() -> None:
    def forward(x: Tensor, y: Tensor, scale: float) -> Tensor:
        return (x.sum(1) - y.sum(1)) * scale

    def shown(sample: Tensor, original: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        return original[0] * sample[0, 0], original[1] * sample[0, 1]

    base = LimeBase(
        forward, SkLearnLinearRegression(), lambda *_: 1.0, listed([0, 0], [0, 1], [1, 0], [1, 1]),
        True, shown, None,
    )  # fmt: skip
    answer = base.attribute((X[:1], X[1:2]), additional_forward_args=2.0, n_samples=4)
    torch.testing.assert_close(answer, torch.stack([X[:1].sum(), -X[1:2].sum()])[None] * 2)


@pytest.mark.parametrize("interpretable", [True, False])
def test_the_frame_wants_the_transform_that_it_needs(*, interpretable: bool) -> None:
    with pytest.raises(AssertionError, match="interp_rep_transform"):
        LimeBase(curved, Nothing(), lambda *_: 1.0, listed(), interpretable, None, None)


@pytest.mark.parametrize("forward", [lambda x: x, lambda x: x[:, :2]])
def test_the_frame_wants_one_number_for_a_sample(forward: Any) -> None:
    base = LimeBase(forward, Nothing(), lambda *_: 1.0, listed([1]), True, lambda _, x: x, None)
    with pytest.raises(AssertionError, match="one number"):
        base.attribute(X[:1], n_samples=1)


def test_an_unknown_distance_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cosine or euclidean"):
        get_exp_kernel_similarity_function("manhattan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="above zero"):
        get_exp_kernel_similarity_function("cosine", 0.0)


def test_the_default_functions_say_what_they_need() -> None:
    with pytest.raises(AssertionError, match="num_interp_features"):
        default_perturb_func(X)
    with pytest.raises(AssertionError, match="feature_mask"):
        default_from_interp_rep_transform(torch.ones(1, 5), X, baselines=0)
    with pytest.raises(AssertionError, match="baselines"):
        default_from_interp_rep_transform(torch.ones(1, 5), X, feature_mask=GROUPS)


DATA = TensorDataset(
    torch.tensor(EVERY).float(), curved(torch.tensor(EVERY) * X[:1]), torch.rand(32) + 0.1
)


@pytest.mark.parametrize(
    ("mine", "theirs", "tolerance"),
    [
        (SkLearnLasso(alpha=0.01), CaptumsLasso(alpha=0.01), 1e-5),
        (SkLearnLinearRegression(), CaptumsRegression(), 1e-5),
        (PenalisedRegression("ridge", 0.0), CaptumsRegression(), 1e-4),
        (PenalisedRegression("lasso", 1e-6), CaptumsRegression(), 1e-3),
        (SkLearnRidge(alpha=1e-6), CaptumsRegression(), 1e-3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_linear_models_are_scikit_learns(mine: Any, theirs: Any, tolerance: float) -> None:
    loader: DataLoader[Any] = DataLoader(DATA, batch_size=32)
    mine.fit(loader)
    theirs.fit(loader)
    torch.testing.assert_close(
        mine.representation().reshape(-1),
        theirs.representation().reshape(-1),
        rtol=tolerance,
        atol=tolerance,
    )
    assert mine.representation().shape == (1, 5)
    predicted = mine(DATA.tensors[0])
    torch.testing.assert_close(predicted, DATA.tensors[0] @ mine.representation().T + mine.bias())


@pytest.mark.parametrize("kind", [SGDLinearRegression, SGDLasso, SGDRidge])
def test_descent_comes_near_and_penalties_shrink(kind: Any) -> None:
    loader: DataLoader[Any] = DataLoader(DATA, batch_size=32)
    exact = PenalisedRegression("ridge", 0.0)
    exact.fit(loader)
    model = kind()
    losses = model.fit(loader, max_epoch=150, initial_lr=0.5, alpha=0.0, threshold=1e-9)
    torch.testing.assert_close(model.representation(), exact.representation(), rtol=0, atol=0.05)
    assert losses["train_loss"] < 0.05
    if kind is not SGDLinearRegression:
        free = model.representation().norm()
        model.fit(loader, max_epoch=150, initial_lr=0.1, alpha=0.05)
        assert model.representation().norm() < free


def test_a_model_that_is_not_fitted_says_so() -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        SkLearnLasso().representation()


def test_without_scikit_learn_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match="own lasso"):
        SkLearnLasso().fit(DataLoader(DATA, batch_size=32))


class TestKernelShap:
    def test_the_default_number_of_samples_suffices_for_any_number_of_features(self) -> None:
        """B21: in Captum 25 samples of 40 features give values that are off by half of them."""
        slopes = torch.arange(40.0)
        x = torch.ones(1, 40)
        answer = KernelShap(lambda t: t @ slopes).attribute(x)
        torch.testing.assert_close(answer, slopes[None], rtol=1e-4, atol=1e-4)
        torch.manual_seed(0)
        theirs = captums("KernelShap", (lambda t: t @ slopes,), x)
        assert (theirs - slopes).abs().max() > 5

    def test_too_few_samples_are_told_and_made_up_for(self) -> None:
        with pytest.warns(UserWarning, match="30 samples do not determine .* 160 are taken"):
            KernelShap(lambda t: t.sum(1)).attribute(torch.ones(1, 40), n_samples=30)

    def test_values_sum_to_the_outputs_difference(self) -> None:
        """B22: in Captum they miss it by a few thousandths."""
        x = torch.rand(2, 8) + 0.5
        answer = KernelShap(lambda t: t.prod(1)).attribute(x, n_samples=40)
        assert isinstance(answer, Tensor)
        torch.testing.assert_close(answer.sum(1), x.prod(1), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("n_samples", [1, 25, 100])
    def test_one_feature_has_the_whole_difference(self, n_samples: int) -> None:
        """Captum raises a ValueError."""
        answer = KernelShap(curved).attribute(
            X, 0.1, feature_mask=torch.zeros(1, 5).long(), n_samples=n_samples
        )
        gap = curved(X) - curved(torch.full_like(X, 0.1))
        assert isinstance(answer, Tensor)
        torch.testing.assert_close(answer, gap[:, None].expand(-1, 5))

    def test_with_all_coalitions_it_is_exact(self) -> None:
        answer = KernelShap(curved).attribute(X, n_samples=30)
        assert_same(answer, captums("ShapleyValues", (curved,), X, feature_mask=None), 1e-5)
