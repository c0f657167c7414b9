"""Private paths of Captum that tutorials import, and the calls of its public tutorials.

The tutorials' models and data cannot be fetched here: small ones of the same form stand for them.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum import attr as package
from adcaptum._utils.common import _format_feature_mask, _get_max_feature_index, _is_mask_valid
from adcaptum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression
from adcaptum.attr._core.lime import construct_feature_mask, get_exp_kernel_similarity_function
from adcaptum.attr._utils.common import get_total_features_from_mask
from adcaptum.attr._utils.custom_modules import Addition_Module
from adcaptum.attr._utils.input_layer_wrapper import ModelInputWrapper
from adcaptum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule
from tests.captum_oracle import assert_same, silently

# The unions of containers that its methods return are narrowed by nothing in a notebook either.
attr: Any = package

PATHS = [
    ("_utils.models.linear_model", "SkLearnLasso SkLearnRidge SGDLasso SGDRidge LinearModel"),
    ("_utils.models.linear_model", "SkLearnLinearModel SkLearnLinearRegression"),
    ("_utils.models.linear_model", "SGDLinearRegression"),
    ("_utils.models.model", "Model"),
    ("_utils.models", "Model"),
    ("attr._core.dataloader_attr", "InputRole DataLoaderAttribution"),
    ("attr._core.lime", "Lime LimeBase default_perturb_func default_from_interp_rep_transform"),
    ("attr._utils.attribution", "Attribution GradientAttribution PerturbationAttribution"),
    ("attr._utils.attribution", "InternalAttribution LayerAttribution NeuronAttribution"),
    ("attr._utils.input_layer_wrapper", "InputIdentity ModelInputWrapper"),
    ("attr._utils.lrp_rules", "PropagationRule IdentityRule"),
    ("metrics._core.infidelity", "infidelity infidelity_perturb_func_decorator"),
    ("metrics._core.sensitivity", "sensitivity_max default_perturb_func"),
    ("attr._utils.visualization", "visualize_image_attr VisualizationDataRecord visualize_text"),
]


@pytest.mark.parametrize(("path", "names"), PATHS)
def test_a_private_path_has_captums_names(path: str, names: str) -> None:
    for library in ("adcaptum", "captum"):
        module = importlib.import_module(f"{library}.{path}")
        assert all(hasattr(module, name) for name in names.split()), library


def images(count: int = 1) -> Tensor:
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(100, 5),
    ).eval()


def test_masks_as_captum_makes_them() -> None:
    from captum._utils import common
    from captum.attr._core import lime

    x, y = torch.zeros(2, 3), torch.zeros(2, 2, 2)
    made = _format_feature_mask(None, (x, y), 4)
    assert_same(made, common._format_feature_mask(None, (x, y), 4))
    assert _get_max_feature_index(made) == 10
    assert get_total_features_from_mask((torch.tensor([3, 3]), torch.tensor([[5], [7]]))) == 3
    ones = torch.ones(1, 3, dtype=torch.int64)
    for mask in (ones, ones[0], ones[None], ones[:, :2]):
        assert _is_mask_valid(mask, x) == common._is_mask_valid(mask, x)
    given = (torch.tensor([[2, 2, 3]]), torch.tensor([[4, 5]]))
    with pytest.warns(UserWarning, match="smallest number is 2"):
        mine = construct_feature_mask(given, (x, y))
    theirs = silently(lime.construct_feature_mask, given, (x, y))
    assert_same(mine[0], theirs[0])
    assert mine[1] == theirs[1] == 4
    assert construct_feature_mask(None, (x, y))[1] == 7


# Image_and_Text_Classification_LIME


def test_lime_of_segments_of_an_image() -> None:
    """`Lime` with an exponential kernel and a linear regression."""
    image, model = images(), network()
    segments = (torch.arange(12)[:, None] // 6 * 2 + torch.arange(12) // 6)[None, None]
    lime = attr.Lime(
        model,
        interpretable_model=SkLearnLinearRegression(),
        similarity_func=get_exp_kernel_similarity_function("euclidean", kernel_width=1000),
    )
    torch.manual_seed(0)
    found = lime.attribute(
        image,
        target=2,
        feature_mask=segments,
        n_samples=40,
        perturbations_per_eval=16,
        show_progress=False,
    )
    assert found.shape == image.shape
    assert len(found.unique()) == 4
    coefficients = lime.attribute(
        image, target=2, feature_mask=segments, n_samples=40, return_input_shape=False
    )
    assert coefficients.shape == (1, 4)


def test_lime_of_the_tokens_of_a_text() -> None:
    """`LimeBase` with functions for a model of flat token ids."""
    torch.manual_seed(0)
    embedding = nn.EmbeddingBag(20, 8, mode="mean")
    head = nn.Linear(8, 3)

    def classify(text: Tensor, offsets: Tensor) -> Tensor:
        logits: Tensor = head(embedding(text.squeeze(0), offsets))
        return logits

    def similarity(original: Tensor, perturbed: Tensor, _sample: Tensor, **_: Any) -> Tensor:
        one, other = (embedding(t.view(-1), torch.tensor([0])) for t in (original, perturbed))
        distance = 1 - nn.functional.cosine_similarity(one, other, dim=1)
        return torch.exp(-distance.square() / 2)

    lime = attr.LimeBase(
        classify,
        interpretable_model=SkLearnLasso(alpha=1e-4),
        similarity_func=similarity,
        perturb_func=lambda text, **_: torch.bernoulli(torch.full(text.shape, 0.5)),
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda sample, text, **_: text[sample.bool()].view(1, -1),
        to_interp_rep_transform=None,
    )
    text = torch.tensor([[3, 5, 7, 11, 13]])
    with torch.no_grad():
        found = lime.attribute(
            text,
            target=1,
            additional_forward_args=(torch.tensor([0]),),
            n_samples=32,
            show_progress=False,
        ).squeeze(0)
    assert found.shape == (5,)
    assert found.any()


# Multimodal_VQA_Captum_Insights


class Answering(nn.Module):
    """A model of an image and a question."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 6))
        self.text = nn.Module()
        self.text.embedding = nn.Embedding(30, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, v: Tensor, q: Tensor, q_len: Tensor) -> Tensor:
        question = self.text.embedding(q).sum(1) / q_len[:, None]  # type: ignore[operator]
        answer: Tensor = self.head(torch.tanh(self.image(v) + question))
        return answer


def test_an_image_and_the_embedding_of_a_question_at_once() -> None:
    torch.manual_seed(0)
    model = Answering().eval()
    wrapped = ModelInputWrapper(model).eval()
    image, question, length = images(2), torch.randint(30, (2, 7)), torch.tensor([7, 7])
    layers: list[Any] = [wrapped.input_maps["v"], model.text.embedding]
    with pytest.warns(UserWarning, match="Multiple layers"):
        method = attr.LayerIntegratedGradients(wrapped, layers)
    blank = torch.zeros_like(question)
    (of_image, of_question), delta = method.attribute(
        inputs=(image, question),
        baselines=(torch.zeros_like(image), blank),
        target=torch.tensor([0, 3]),
        additional_forward_args=length,
        n_steps=20,
        return_convergence_delta=True,
    )
    assert of_image.shape == image.shape
    assert of_question.shape == (2, 7, 6)
    assert delta.abs().max() < 1e-4
    torch.testing.assert_close(
        wrapped(image, q=question, q_len=length), model(image, question, length)
    )


def test_a_model_with_an_argument_that_cannot_be_a_layers_name() -> None:
    class Attending(nn.Module):
        def forward(self, keys: Tensor) -> Tensor:
            return keys

    with pytest.raises(AssertionError, match="argument 'keys'"):
        ModelInputWrapper(Attending())


# LRP_TorchVision_Tutorial


def test_relevance_with_rules_that_are_set_on_layers() -> None:
    model = network()
    model[0].rule = GammaRule()  # type: ignore[assignment]
    model[4].rule = EpsilonRule(epsilon=0)  # type: ignore[assignment]
    found, delta = attr.LRP(model).attribute(
        images(2), target=torch.tensor([1, 4]), return_convergence_delta=True, verbose=False
    )
    assert found.shape == (2, 3, 12, 12)
    assert delta.shape == (2,)
    model[0].rule = Alpha1_Beta0_Rule()  # type: ignore[assignment]
    assert not torch.equal(found, attr.LRP(model).attribute(images(2), target=torch.tensor([1, 4])))


def test_a_sum_that_is_a_layer() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.inner, self.outer, self.add = nn.Linear(4, 4), nn.Linear(4, 2), Addition_Module()

        def forward(self, x: Tensor) -> Tensor:
            return self.outer(self.add(x, torch.relu(self.inner(x))))

    model = Residual().eval()
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    # The layer's output is x + f(x), and behind it everything is linear.
    at_sum = attr.LayerIntegratedGradients(model, model.add).attribute(x, target=0)
    expected = (x + torch.relu(model.inner(x)) - torch.relu(model.inner.bias)) * model.outer.weight[
        0
    ]
    torch.testing.assert_close(at_sum, expected.detach())
    assert attr.LRP(model).attribute(x, target=0).isfinite().all()


# Titanic_Basic_Interpret, House_Prices_Regression_Interpret


def test_a_table_its_layers_and_its_neurons() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.Softmax(1)
    ).eval()
    rows = torch.randn(8, 6).requires_grad_()
    ig = attr.IntegratedGradients(model)
    found, delta = ig.attribute(rows, target=1, return_convergence_delta=True)
    assert (found.shape, delta.shape) == ((8, 6), (8,))
    assert attr.NoiseTunnel(ig).attribute(rows, target=1, nt_samples=3).shape == (8, 6)
    assert attr.DeepLift(model).attribute(rows, target=1).shape == (8, 6)
    shap = attr.GradientShap(model).attribute(rows, torch.zeros(20, 6), target=1)
    assert shap.shape == (8, 6)
    assert attr.FeatureAblation(model).attribute(rows, target=1).shape == (8, 6)
    conductance = attr.LayerConductance(model, model[1]).attribute(rows, target=1)
    assert conductance.shape == (8, 5)
    neuron = attr.NeuronConductance(model, model[1])
    assert neuron.attribute(rows, neuron_selector=3, target=1).shape == (8, 6)


# Resnet_TorchVision_Interpret, Resnet_TorchVision_Ablation, CIFAR, Segmentation_Interpret


def test_an_image_and_its_segments() -> None:
    image, model = images(), network()
    ig = attr.IntegratedGradients(model)
    smooth = attr.NoiseTunnel(ig).attribute(
        image, nt_samples_batch_size=2, nt_samples=4, nt_type="smoothgrad_sq", target=1
    )
    assert (smooth >= 0).all()
    occluded = attr.Occlusion(model).attribute(
        image, strides=(3, 4, 4), target=1, sliding_window_shapes=(3, 6, 6), baselines=0
    )
    assert occluded.shape == image.shape
    mask = (torch.arange(12) // 6).expand(1, 1, 12, 12)
    ablated = attr.FeatureAblation(model).attribute(
        image, feature_mask=mask, perturbations_per_eval=4, target=1
    )
    assert len(ablated.unique()) == 2
    cam = attr.LayerGradCam(model, model[0]).attribute(image, target=1)
    assert attr.LayerAttribution.interpolate(cam, image.shape[2:]).shape == (1, 1, 12, 12)


# Bert_SQUAD_Interpret, IMDB_TorchText_Interpret


class Reading(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(40, 8)
        self.encoder = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        states = torch.tanh(self.encoder(self.embedding(tokens))) * mask[..., None]
        logits: Tensor = self.head(states.mean(1))
        return logits


def test_the_tokens_of_a_text_by_its_embedding() -> None:
    model = Reading().eval()
    tokens, mask = torch.randint(40, (1, 9)), torch.ones(1, 9)
    reference = attr.TokenReferenceBase(reference_token_idx=0).generate_reference(9, device="cpu")
    lig = attr.LayerIntegratedGradients(model, model.embedding)
    found, delta = lig.attribute(
        inputs=tokens,
        baselines=reference[None],
        additional_forward_args=(mask,),
        target=1,
        return_convergence_delta=True,
    )
    summary = found.sum(dim=-1).squeeze(0)
    summary = summary / torch.norm(summary)
    record = attr.visualization.VisualizationDataRecord(
        summary, 0.7, 1, 1, "text", summary.sum(), ["word"] * 9, delta
    )
    assert len(record.word_attributions) == 9
    layer = attr.configure_interpretable_embedding_layer  # its warning is that layers are replaced
    interpretable = silently(layer, model, "embedding")
    embedded = interpretable.indices_to_embeddings(tokens)
    conductance = attr.LayerConductance(model, model.encoder).attribute(
        embedded, baselines=torch.zeros_like(embedded), additional_forward_args=(mask,), target=1
    )
    assert conductance.shape == (1, 9, 8)
    attr.remove_interpretable_embedding_layer(model, interpretable)
    assert isinstance(model.embedding, nn.Embedding)
