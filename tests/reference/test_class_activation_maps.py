"""Class activation maps against slow transcriptions of their papers, and against Captum."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import pytest
import torch
from captum import attr
from torch import Tensor, nn

from adcaptum.engine import METHODS, EveryOutput, Explicand, InvalidArgument, Site, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import cnn, mlp, numbers

IMAGES = numbers(3, 1, 8, 8)
TARGETS = [0, 2, 1]


def at_layer(
    model: nn.Module, cut: int, x: Tensor, example: int, target: int
) -> tuple[Tensor, Tensor]:
    """One example's values after the first `cut` modules, and the target's gradients there."""
    assert isinstance(model, nn.Sequential)
    values = model[:cut](x[example : example + 1]).detach().requires_grad_()
    (gradients,) = torch.autograd.grad(model[cut:](values.clone())[0, target], values)
    return values[0].detach(), gradients[0]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("sum_channels", [False, True])
@pytest.mark.parametrize("io", ["input", "output"])
def test_grad_cam_is_captums(relu: bool, sum_channels: bool, io: str) -> None:
    model = cnn()
    site = Site("2", io)  # type: ignore[arg-type]
    method = METHODS["grad_cam"](relu=relu, sum_channels=sum_channels)  # type: ignore[call-arg]
    ours = explain(model, method, Explicand.of(IMAGES, target=TARGETS, at=site))
    theirs = attr.LayerGradCam(model, model.get_submodule("2")).attribute(
        IMAGES,
        TARGETS,
        relu_attributions=relu,
        attr_dim_summation=sum_channels,
        attribute_to_layer_input=io == "input",
    )
    torch.testing.assert_close(ours.values[0], theirs, rtol=1e-12, atol=1e-12)


def test_grad_cam_of_a_vector_layer_weighs_each_unit_with_its_own_gradient() -> None:
    model, x = mlp(), numbers(3, 8)
    ours = explain(model, METHODS["grad_cam"](), Explicand.of(x, target=TARGETS, at=Site("1")))
    for i, target in enumerate(TARGETS):
        values, gradients = at_layer(model, 2, x, i, target)
        torch.testing.assert_close(ours.values[0][i], (values * gradients).sum(0, keepdim=True))


def grad_cam_plus_plus(values: Tensor, gradients: Tensor) -> Tensor:
    """Chattopadhay et al. (2018), equations 5, 10 and 19; derivatives of exp(target) over it."""
    channels, height, width = values.shape
    saliency = values.new_zeros(height, width)
    for k in range(channels):
        weight = 0.0
        for i in range(height):
            for j in range(width):
                first = float(gradients[k, i, j])
                second, third = first**2, first**3
                below = 2 * second + float(values[k].sum()) * third
                alpha = second / below if below else 0.0
                weight += alpha * max(0.0, first)
        saliency += weight * values[k]
    return saliency.clamp_min(0)


def layer_cam(values: Tensor, gradients: Tensor) -> Tensor:
    """Jiang et al. (2021): each element weighted by its own positive gradient."""
    channels, height, width = values.shape
    saliency = values.new_zeros(height, width)
    for k in range(channels):
        for i in range(height):
            for j in range(width):
                saliency[i, j] += max(0.0, float(gradients[k, i, j])) * values[k, i, j]
    return saliency.clamp_min(0)


def hires_cam(values: Tensor, gradients: Tensor) -> Tensor:
    """Draelos, Carin (2020): the sum over the channels of gradient * value."""
    saliency = torch.zeros_like(values[0])
    for of_channel, slopes in zip(values, gradients, strict=True):
        saliency += of_channel * slopes
    return saliency


@pytest.mark.parametrize("definition", [grad_cam_plus_plus, layer_cam, hires_cam])
def test_maps_are_what_their_papers_say(definition: Callable[[Tensor, Tensor], Tensor]) -> None:
    model = cnn()
    for layer, cut in (("0", 1), ("2", 3)):
        explicand = Explicand.of(IMAGES, target=TARGETS, at=Site(layer))
        ours = explain(model, METHODS[definition.__name__](), explicand)
        for i, target in enumerate(TARGETS):
            expected = definition(*at_layer(model, cut, IMAGES, i, target))
            torch.testing.assert_close(ours.values[0][i, 0], expected, rtol=1e-10, atol=1e-12)


def test_hires_cam_is_complete_before_global_pooling_and_a_linear_layer() -> None:
    model = cnn()
    ours = explain(
        model, METHODS["hires_cam"](), Explicand.of(IMAGES, target=TARGETS, at=Site("2"))
    )
    bias = model.get_parameter("5.bias").detach()[TARGETS]
    assert ours.output is not None
    torch.testing.assert_close(
        ours.values[0].sum((1, 2, 3)), ours.output - bias, rtol=1e-12, atol=1e-12
    )


class Rearranged(nn.Module):
    """Lays a CNN's channels as transformers do, in a layer of its own, and back."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.stem = cnn()[:3]  # type: ignore[index]
        self.block = nn.Identity()
        self.head = cnn()[3:]  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        if self.form == "channels_last":
            return self.head(self.block(maps.movedim(1, -1)).movedim(-1, 1))
        tokens = maps.flatten(2).movedim(1, 2)
        if self.form == "class token":
            tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        tokens = self.block(tokens)
        return self.head(tokens[:, -16:].movedim(1, 2).unflatten(2, (4, 4)))


@pytest.mark.parametrize(
    ("form", "reshape"),
    [("tokens", "tokens"), ("class token", "tokens"), ("channels_last", "channels_last")],
)
@pytest.mark.parametrize("name", ["grad_cam", "grad_cam_plus_plus", "layer_cam", "hires_cam"])
def test_a_transformers_layer_is_seen_as_a_map(name: str, form: str, reshape: str) -> None:
    method = resolve(METHODS[name], {"reshape": reshape})
    ours = explain(Rearranged(form), method, Explicand.of(IMAGES, target=TARGETS, at=Site("block")))
    plain = explain(cnn(), METHODS[name](), Explicand.of(IMAGES, target=TARGETS, at=Site("2")))
    torch.testing.assert_close(ours.values[0], plain.values[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "reshape", "form"),
    [
        ("1", "tokens", r"\(tokens, channels\).*\(4, 4, 4\)"),
        ("3", "tokens", r"\(tokens, channels\).*\(4, 1, 1\)"),
        ("4", "channels_last", r"channels\).*\(4,\)"),
    ],
)
def test_a_layer_of_another_form_is_refused(layer: str, reshape: str, form: str) -> None:
    method = resolve(METHODS["hires_cam"], {"reshape": reshape})
    with pytest.raises(InvalidArgument, match=form):
        explain(cnn(), method, Explicand.of(IMAGES, target=TARGETS, at=Site(layer)))


def test_tokens_that_are_no_square_are_refused() -> None:
    model = nn.Sequential(nn.Unflatten(1, (6, 2)), nn.Flatten(), nn.Linear(12, 3)).double()
    method, x = resolve(METHODS["grad_cam"], {"reshape": "tokens"}), numbers(2, 12)
    with pytest.raises(InvalidArgument, match=r"square.*\(6, 2\)"):
        explain(model, method, Explicand.of(x, target=0, at=Site("0")))


def score_cam(model: nn.Module, cut: int, x: Tensor, x0: Tensor, target: int) -> list[Tensor]:
    """Wang et al. (2020), algorithm 1, for one image: each channel's part of the map."""
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        maps = model[:cut](x[None])[0]
        scores = []
        for one in maps:
            large = nn.functional.interpolate(
                one[None, None], x.shape[1:], mode="bilinear", align_corners=False
            )[0, 0]
            low, high = float(large.min()), float(large.max())
            shown = (large - low) / (high - low) if high > low else torch.zeros_like(large)
            scores.append(float(model((x * shown + x0 * (1 - shown))[None])[0, target]))
        total = sum(exp(score) for score in scores)
    return [exp(score) / total * one for score, one in zip(scores, maps, strict=True)]


@pytest.mark.parametrize(("layer", "cut"), [("0", 1), ("2", 3)])
def test_score_cam_is_what_its_paper_says(layer: str, cut: int) -> None:
    model, x0 = cnn(), numbers(3, 1, 8, 8, seed=1)
    explicand = Explicand.of(IMAGES, target=TARGETS, baselines=x0, at=Site(layer))
    ours = explain(model, METHODS["score_cam"](), explicand)
    each = explain(
        model, resolve(METHODS["score_cam"], {"sum_channels": False, "relu": False}), explicand
    )
    for i, target in enumerate(TARGETS):
        expected = torch.stack(score_cam(model, cut, IMAGES[i], x0[i], target))
        torch.testing.assert_close(each.values[0][i], expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours.values[0][i, 0], expected.sum(0).relu())
    assert ours.rows_used == 3 * (1 + 4)


def test_score_cam_may_take_the_liveliest_channels_alone() -> None:
    model = cnn()
    explicand = Explicand.of(IMAGES, target=TARGETS, at=Site("2"))
    method = resolve(METHODS["score_cam"], {"max_channels": 2, "sum_channels": False})
    ours = explain(model, method, explicand)
    assert ours.rows_used == method.rows(explicand) == 3 * 3
    assert isinstance(model, nn.Sequential)
    maps = model[:3](IMAGES).detach()
    for i, target in enumerate(TARGETS):
        lively = sorted(range(4), key=lambda k: -float(maps[i, k].std()))[:2]
        parts = score_cam(model, 3, IMAGES[i], torch.zeros(1, 8, 8).double(), target)
        total = sum(float(parts[k].sum() / maps[i, k].sum()) for k in lively)
        for k in range(4):
            expected = parts[k] / total if k in lively else torch.zeros(4, 4).double()
            torch.testing.assert_close(ours.values[0][i, k], expected)


def test_score_cam_explains_every_output_at_the_price_of_one() -> None:
    model, method = cnn(), METHODS["score_cam"]()
    every = explain(model, method, Explicand.of(IMAGES, target=EveryOutput(), at=Site("2")))
    assert every.values[0].shape == (9, 1, 4, 4)
    assert every.rows_used == 3 * (1 + 4)
    for target in range(3):
        one = explain(model, method, Explicand.of(IMAGES, target=target, at=Site("2")))
        torch.testing.assert_close(every.values[0][target::3], one.values[0])
        torch.testing.assert_close(every.output[target::3], one.output)  # type: ignore[index]


@pytest.mark.parametrize(("layer", "why"), [("4", "1 to 3 dimensions"), ("2", "last dimensions")])
def test_score_cam_refuses_maps_that_cannot_be_laid_over_the_input(layer: str, why: str) -> None:
    model = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), cnn()) if layer == "2" else cnn()
    x = IMAGES.flatten(1) if layer == "2" else IMAGES
    at = Site(f"1.{layer}" if layer == "2" else layer)
    with pytest.raises(InvalidArgument, match=why):
        explain(model, METHODS["score_cam"](), Explicand.of(x, target=0, at=at))
