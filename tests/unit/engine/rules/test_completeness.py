"""DeepLIFT's attributions add up, on networks of every kind and operation by operation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from adcaptum.engine import INPUT, METHODS, Attribution, Explicand, Neuron, Site, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers
from tests.unit.engine.rules.networks import NETWORKS, seeded

Function = Callable[[Tensor], Tensor]


def differences(
    model: nn.Module | Function,
    shape: tuple[int, ...],
    rule: str = "rescale",
    *,
    target: list[int] | Neuron | None = None,
    at: Site = INPUT,
) -> Attribution:
    """Three examples explained, two of which share a baseline."""
    x, x0 = numbers(3, *shape), numbers(3, *shape, seed=1)
    x0[2] = x0[0]
    # A part of what is compared is equal.
    x0[..., 0] = x[0, ..., 0]
    question = Explicand.of(x, baselines=x0, target=target or [0, 1, 1], at=at)
    return explain(model, resolve(METHODS["deep_lift"], {"rule": rule}), question)


def assert_complete(answer: Attribution, tolerance: float = 1e-9) -> None:
    assert answer.uncovered_ops == ()
    assert answer.completeness_error is not None
    assert answer.output is not None
    assert answer.baseline_output is not None
    assert (answer.output - answer.baseline_output).abs().max() > 1e-6, "there is a difference"
    assert answer.completeness_error.max() < tolerance
    assert answer.values[0].isfinite().all()


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("name", NETWORKS)
def test_attributions_add_up_to_the_difference_of_the_outputs(name: str, rule: str) -> None:
    make, shape = NETWORKS[name]
    assert_complete(differences(seeded(make), shape, rule))


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet", "4"), ("vgg", "3"), ("encoder", "encoder.layers.0"), ("attention block", "norm")],
)
@pytest.mark.parametrize("io", ["input", "output"])
def test_attributions_at_a_layer_add_up_where_all_flows_through_it(
    name: str, layer: str, io: str
) -> None:
    make, shape = NETWORKS[name]
    model = seeded(make)
    if name == "attention block":
        model = nn.Sequential(nn.LayerNorm(8), model).double().eval()
        layer = "0"
    site = Site(layer, "input" if io == "input" else "output")
    assert_complete(differences(model, shape, at=site))


def test_attributions_to_a_neuron_add_up_to_its_difference() -> None:
    make, shape = NETWORKS["vgg"]
    assert_complete(differences(seeded(make), shape, target=Neuron(Site("3"), (1, 4, 5))))


def test_no_more_than_the_baselines_and_the_examples_is_evaluated() -> None:
    make, shape = NETWORKS["vgg"]
    model, x = seeded(make), numbers(6, *shape)
    method = METHODS["deep_lift"]()
    assert explain(model, method, Explicand.of(x, target=0)).rows_used == 7
    shared = Explicand.of(x, target=0, baselines=numbers(1, *shape, seed=1))
    assert explain(model, method, shared).rows_used == 7
    own = Explicand.of(x, target=0, baselines=numbers(6, *shape, seed=1))
    assert explain(model, method, own).rows_used == 12


_weight = numbers(8, 8, seed=9)


def linear(x: Tensor) -> Tensor:
    return x @ _weight / 3


def in_place(x: Tensor) -> Tensor:
    y = linear(x)
    y += x
    y.relu_()
    y *= 2
    y[:, 0] = x[:, 1]
    y[:, 2:5].tanh_()
    y *= x
    return y


OPERATIONS: dict[str, Function] = {
    "exp": lambda x: torch.exp(linear(x)),
    "log of positive": lambda x: torch.log(linear(x).abs() + 0.5),
    "sqrt": lambda x: (linear(x).abs() + 0.5).sqrt(),
    "rsqrt": lambda x: torch.rsqrt(linear(x).abs() + 0.5),
    "reciprocal": lambda x: torch.reciprocal(linear(x).abs() + 0.5),
    "square": lambda x: torch.square(linear(x)),
    "quotient by name": lambda x: torch.div(input=linear(x), other=x.exp()),
    "power by name": lambda x: torch.pow(input=linear(x), exponent=3),
    "erf": lambda x: torch.erf(linear(x)),
    "sin": lambda x: linear(x).sin(),
    "cos": lambda x: linear(x).cos(),
    "abs": lambda x: abs(linear(x)),
    "clamp": lambda x: torch.clamp(linear(x), -0.2, 0.3),
    "clamp_min": lambda x: linear(x).clamp(min=0.1),
    "floor": lambda x: torch.floor(2 * linear(x)),
    "x ** 2": lambda x: linear(x) ** 2,
    "x ** 3": lambda x: linear(x) ** 3,
    "2 ** x": lambda x: 2 ** linear(x),
    "x ** y": lambda x: (linear(x).abs() + 1) ** x.tanh(),
    "1 / x": lambda x: 1 / (2 + x.tanh()),
    "x / y": lambda x: x / (2 + x.tanh()),
    "x * y": lambda x: linear(x) * x.tanh(),
    "x * x": lambda x: x * x,
    "outer product": lambda x: (x[:, :, None] * x.tanh()[:, None]).flatten(1),
    "matmul": lambda x: (x.view(-1, 2, 4) @ x.view(-1, 4, 2).tanh()).flatten(1),
    "matmul, broadcast": lambda x: torch.matmul(x.view(-1, 1, 2, 4), x.view(-1, 1, 4, 2)).flatten(
        1
    ),
    "bmm": lambda x: torch.bmm(x.view(-1, 2, 4), x.view(-1, 4, 2)).flatten(1),
    "baddbmm": lambda x: torch.baddbmm(
        x.view(-1, 2, 4)[..., :2], x.view(-1, 2, 4), x.view(-1, 4, 2)
    ).flatten(1),
    "einsum": lambda x: torch.einsum("bi,bj->bij", x, x.tanh()).flatten(1),
    "addcmul": lambda x: torch.addcmul(x, x.tanh(), linear(x)),
    "addcdiv": lambda x: torch.addcdiv(x, x.tanh(), 2 + x.sigmoid()),
    "lerp": lambda x: torch.lerp(x, linear(x), x.sigmoid()),
    "atan2": lambda x: torch.atan2(linear(x), x.tanh() + 2),
    "maximum": lambda x: torch.maximum(linear(x), x.tanh()),
    "maximum with a number": lambda x: torch.maximum(linear(x), torch.zeros(8).double()),
    "minimum": lambda x: torch.min(linear(x), x.tanh()),
    "max": lambda x: linear(x).view(-1, 4, 2).max(2).values,
    "max, kept": lambda x: torch.max(linear(x).view(-1, 4, 2), 2, keepdim=True)[0].flatten(1),
    "min": lambda x: linear(x).view(-1, 4, 2).min(-1)[0],
    "amax": lambda x: linear(x).view(-1, 2, 4, 1).amax((1, 3)),
    "amin": lambda x: linear(x).view(-1, 2, 4, 1).amin(dim=(1, 3), keepdim=True).flatten(1),
    "softmax": lambda x: torch.softmax(linear(x), 1),
    "softmax in float32": lambda x: F.softmax(linear(x), -1, dtype=torch.float64),
    "softmin": lambda x: F.softmin(linear(x), -1),
    "log_softmax": lambda x: linear(x).log_softmax(1),
    "masked softmax": lambda x: (
        linear(x).masked_fill(torch.arange(8) == 5, float("-inf")).softmax(-1)
    ),
    "logsumexp": lambda x: linear(x).view(-1, 4, 2).logsumexp(2),
    "layer_norm": lambda x: F.layer_norm(linear(x), (8,)),
    "layer_norm over two": lambda x: F.layer_norm(x.view(-1, 2, 4), (2, 4)).flatten(1),
    "rms_norm": lambda x: F.rms_norm(linear(x), (8,)),
    "group_norm": lambda x: F.group_norm(linear(x), 2),
    "instance_norm": lambda x: F.instance_norm(x.view(-1, 2, 4)).flatten(1),
    "normalize": lambda x: F.normalize(linear(x)),
    "normalize by 1": lambda x: F.normalize(linear(x), p=1),
    "var": lambda x: linear(x).view(-1, 4, 2).var(2),
    "std": lambda x: linear(x).view(-1, 4, 2).std(2),
    "cosine_similarity": lambda x: F.cosine_similarity(
        x.view(-1, 4, 2), x.view(-1, 4, 2).tanh(), 2
    ),
    "glu": lambda x: F.glu(x).repeat(1, 2),
    "attention": lambda x: F.scaled_dot_product_attention(
        x.view(-1, 4, 2), x.tanh().view(-1, 4, 2), x.view(-1, 4, 2), is_causal=True
    ).flatten(1),
    "attention, masked": lambda x: F.scaled_dot_product_attention(
        x.view(-1, 4, 2),
        x.view(-1, 4, 2),
        x.view(-1, 4, 2),
        attn_mask=torch.ones(4, 4, dtype=torch.bool).tril(),
    ).flatten(1),
    "pad": lambda x: F.pad(linear(x), (1, 2)).relu()[:, 1:9],
    "circular pad": lambda x: F.pad(linear(x)[:, None], (2, 2), mode="circular").relu()[:, 0],
    "unfold": lambda x: linear(x).unfold(1, 4, 2).relu().flatten(1),
    "roll": lambda x: linear(x).roll(3, 1).relu(),
    "gather": lambda x: linear(x).gather(1, torch.arange(7, -1, -1).expand(len(x), -1)).relu(),
    "index": lambda x: linear(x)[torch.arange(len(x))[:, None], torch.tensor([[3, 1]])].relu(),
    "cumsum": lambda x: linear(x).cumsum(1).relu(),
    "local response norm": lambda x: F.local_response_norm(linear(x)[:, :, None], 3)[..., 0],
    "pixel shuffle": lambda x: F.pixel_shuffle(x.view(-1, 8, 1, 1), 2).relu().flatten(1),
    "lp pool": lambda x: F.lp_pool1d(linear(x)[:, None], 2, 2)[:, 0],
    "bilinear": lambda x: F.bilinear(x, x.tanh(), numbers(3, 8, 8)),
    "gated norm": lambda x: F.layer_norm(x, (8,)) * linear(x) + x.tanh(),
    "interpolate": lambda x: F.interpolate(linear(x)[:, None], scale_factor=2)[:, 0].relu(),
    "in place": in_place,
    "where, the same for all": lambda x: torch.where(torch.arange(8) > 3, x.tanh(), linear(x)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_complete(name: str) -> None:
    assert_complete(differences(OPERATIONS[name], (8,)))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "pool",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": 2, "stride": 1, "dilation": 2},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    ],
    ids=["apart", "overlapping", "dense", "dilated", "ceiled"],
)
def test_max_pooling_is_complete_however_windows_overlap(dims: int, pool: dict[str, int]) -> None:
    module = getattr(nn, f"MaxPool{dims}d")(**pool)
    assert_complete(differences(lambda x: module(x).flatten(1), (2, *(6,) * dims)))
    both = getattr(F, f"max_pool{dims}d")
    assert_complete(
        differences(lambda x: both(x, **pool, return_indices=True)[0].flatten(1), (2, *(6,) * dims))
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_adaptive_max_pooling_is_complete(dims: int) -> None:
    module = getattr(nn, f"AdaptiveMaxPool{dims}d")(2)
    function = lambda x: module(x.tanh()).flatten(1)
    assert_complete(differences(function, (2, *(5,) * dims)))
