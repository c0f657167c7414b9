"""The mechanism: what is intercepted however it is called, what is reported, what is left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from adcaptum.engine import METHODS, Attribution, Explicand, Site, UncoveredOperations, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers, text_classifier
from tests.unit.engine.rules.networks import NETWORKS, AttentionBlock, seeded

Function = Callable[[Tensor], Tensor]
_first, _second = numbers(8, 8, seed=9) / 3, numbers(8, 3, seed=8) / 3


def around(function: Function) -> Function:
    """The function between two linear maps."""
    return lambda x: function(x @ _first) @ _second


def explained(model: nn.Module | Function, method: str = "deep_lift", **params: Any) -> Attribution:
    x, x0 = numbers(3, 8), numbers(3, 8, seed=1)
    question = Explicand.of(x, target=[0, 2, 1], baselines=x0)
    return explain(model, resolve(METHODS[method], params), question, batch_rows=64)


FORMS: dict[str, tuple[Function, ...]] = {
    "relu": (
        nn.ReLU(), nn.ReLU(inplace=True), F.relu, lambda x: F.relu(x, inplace=True), torch.relu,
        torch.relu_, lambda x: x.relu(), lambda x: x.relu_(), F.relu_,
        torch.ops.aten.relu, torch.ops.aten.relu.default,
        torch.ops.aten.relu_.default,
    ),
    "sigmoid": (nn.Sigmoid(), F.sigmoid, torch.sigmoid, torch.special.expit, lambda x: x.sigmoid(),
                lambda x: x.sigmoid_()),
    "tanh": (nn.Tanh(), F.tanh, torch.tanh, lambda x: x.tanh(), lambda x: x.tanh_()),
    "gelu": (nn.GELU(), F.gelu, torch.ops.aten.gelu.default),
    "silu": (nn.SiLU(), nn.SiLU(inplace=True), F.silu, lambda x: F.silu(x, inplace=True)),
    "leaky_relu": (nn.LeakyReLU(0.2), nn.LeakyReLU(0.2, inplace=True),
                   lambda x: F.leaky_relu(x, 0.2), lambda x: F.leaky_relu_(x, 0.2)),
    "elu": (nn.ELU(1.5), nn.ELU(1.5, inplace=True), lambda x: F.elu(x, alpha=1.5),
            lambda x: F.elu(input=x, alpha=1.5)),
    "hardtanh": (nn.Hardtanh(-0.2, 0.3), nn.Hardtanh(-0.2, 0.3, inplace=True),
                 lambda x: F.hardtanh(x, -0.2, 0.3), lambda x: F.hardtanh(x, -0.2, 0.3, True)),
    "relu6": (nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6),
    "clamp": (lambda x: torch.clamp(x, -0.2, 0.3), lambda x: x.clamp(min=-0.2, max=0.3),
              lambda x: x.clip(-0.2, 0.3), lambda x: x.clamp_(-0.2, 0.3)),
    "softmax": (nn.Softmax(-1), lambda x: F.softmax(x, 1), lambda x: torch.softmax(x, dim=1),
                lambda x: x.softmax(-1), lambda x: torch.special.softmax(x, 1),
                lambda x: torch.ops.aten._softmax.default(x, 1, False)),
    "layer norm": (nn.LayerNorm(8).double(), lambda x: F.layer_norm(x, (8,)),
                   lambda x: torch.layer_norm(x, (8,))),
    "square": (torch.square, lambda x: x**2, lambda x: x.pow(2), lambda x: x.square_(),
               lambda x: x * x, lambda x: torch.mul(x, x), lambda x: x.mul_(x.clone())),
    "quotient": (lambda x: 1 / (x + 9), lambda x: torch.reciprocal(x + 9),
                 lambda x: torch.div(1, x + 9), lambda x: (x + 9) ** -1,
                 lambda x: (x + 9).reciprocal_()),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_an_operation_is_the_same_in_every_form(name: str) -> None:
    first, *others = (explained(around(form)) for form in FORMS[name])
    assert first.uncovered_ops == ()
    for other in others:
        assert other.uncovered_ops == ()
        torch.testing.assert_close(other.values, first.values, rtol=1e-12, atol=1e-12)


def functional_vgg(model: nn.Module) -> Function:
    """The layers of `networks.vgg`, with everything but the weights called as functions."""
    conv1, conv2, linear1, linear2 = (
        m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    )

    def forward(x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(F.conv2d(x, conv1.weight, conv1.bias, padding=1)), 2)
        x = F.relu_(torch.conv2d(x, conv2.weight, conv2.bias, padding=1))
        x = F.adaptive_max_pool2d(torch.max_pool2d(x, 2), 3).flatten(1)
        assert linear1.bias is not None
        x = torch.clamp_min(torch.addmm(linear1.bias, x, linear1.weight.T), 0)
        return F.linear(F.dropout(x, training=False), linear2.weight, linear2.bias)

    return forward


@pytest.mark.parametrize("method", ["deep_lift", "guided_backprop", "deconvolution"])
def test_a_functional_twin_is_explained_as_its_modules(method: str) -> None:
    model = seeded(NETWORKS["vgg"][0])
    question = Explicand.of(numbers(2, 3, 16, 16), target=1)
    twin = functional_vgg(model)
    expected = explain(model, METHODS[method](), question)
    answer = explain(twin, METHODS[method](), question)
    torch.testing.assert_close(answer.values, expected.values, rtol=1e-12, atol=1e-12)
    assert answer.uncovered_ops == ()


def test_attention_of_torch_is_explained_as_attention_by_hand() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()

    def by_hand(x: Tensor) -> Tensor:
        weights, biases = attention.in_proj_weight, attention.in_proj_bias
        q, k, v = (
            (x @ w.T + b).view(len(x), -1, 2, 4).transpose(1, 2)
            for w, b in zip(weights.chunk(3), biases.chunk(3), strict=True)
        )
        scores = q @ k.transpose(-2, -1) * 0.5
        heads = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(len(x), -1, 8)
        return F.linear(heads, attention.out_proj.weight, attention.out_proj.bias).mean(1)

    question = Explicand.of(numbers(2, 5, 8), target=1, baselines=numbers(2, 5, 8, seed=1))
    expected = explain(by_hand, METHODS["deep_lift"](), question)
    for needed in (True, False):
        answer = explain(
            lambda x, needed=needed: attention(x, x, x, need_weights=needed)[0].mean(1),
            METHODS["deep_lift"](),
            question,
        )
        assert answer.uncovered_ops == ()
        torch.testing.assert_close(answer.values, expected.values, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.export:DeprecationWarning")
def test_an_exported_program_is_explained_as_its_model() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3)).double()
    rows = torch.export.Dim("rows")
    program = torch.export.export(model.eval(), (numbers(3, 8),), dynamic_shapes=({0: rows},))
    expected, answer = explained(model), explained(program.module())
    assert answer.uncovered_ops == ()
    torch.testing.assert_close(answer.values, expected.values, rtol=1e-12, atol=1e-12)


class Swish(torch.autograd.Function):
    """An activation that torch shows to nobody."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return gradients[0] * (s + x * s * (1 - s))


def _largest(steps: Tensor) -> Tensor:
    return steps.gather(0, steps.argmax(0, keepdim=True))[0].repeat(1, 2)


UNCOVERED: dict[str, tuple[Function, str]] = {
    "prod": (lambda x: x.view(-1, 4, 2).prod(2).repeat(1, 2), "prod"),
    "sort": (lambda x: x.sort(1)[0], "sort"),
    "cumprod": (lambda x: torch.cumprod(x, 1), "cumprod"),
    "autograd function": (Swish.apply, "Swish"),
    "dropout in training mode": (lambda x: F.dropout(x, 0.5, training=True), "dropout"),
    "batch norm in training mode": (
        lambda x: F.batch_norm(x, None, None, training=True),
        "batch_norm",
    ),
    "in place": (lambda x: x.cumprod_(1), "cumprod"),
    "division rounded": (lambda x: x.div_(2 + x.tanh(), rounding_mode="floor") + x, "div"),
    "pick by an activation": (lambda x: x.gather(1, x.argsort(1)), "gather"),
    "index by an activation": (lambda x: x[torch.arange(len(x))[:, None], x.argsort(1)], "getitem"),
    "pick, rows second": (lambda x: _largest(x.view(-1, 2, 4).transpose(0, 1)), "gather"),
    "exponential of a spectrum": (lambda x: torch.fft.fft(x).exp().real, "exp"),
    "three factors": (lambda x: torch.einsum("bi,bi,bi->bi", x, x.tanh(), x), "einsum"),
}


@pytest.mark.parametrize("name", UNCOVERED)
def test_what_has_no_rule_is_reported_and_refused_if_strict(name: str) -> None:
    function, operation = UNCOVERED[name]
    assert explained(around(function)).uncovered_ops == (operation,)
    with pytest.raises(UncoveredOperations, match=operation) as raised:
        explained(around(function), strict=True)
    assert raised.value.operations == (operation,)


def test_a_recurrent_layer_is_reported() -> None:
    question = Explicand.of(
        torch.tensor([[1, 4, 7]]), target=1, at=Site("embedding"),
        additional_forward_args=(torch.ones(1, 3),),
    )  # fmt: skip
    answer = explain(text_classifier(), METHODS["deep_lift"](), question)
    assert answer.uncovered_ops == ("gru",)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_module_is_reported() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double().eval()
    scripted = torch.jit.script(model)
    # It is compiled in its first calls, and looks different in the graph then.
    for _ in range(3):
        assert explained(scripted).uncovered_ops != ()


def test_what_the_target_does_not_depend_on_is_not_reported() -> None:
    def branches(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.relu() @ _second, x.sort(1)[0]

    assert explained(branches).uncovered_ops == ()  # type: ignore[arg-type]


def test_what_comes_before_the_explained_layer_is_not_reported() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.sort(1)[0]).tanh()

    question = Explicand.of(numbers(3, 8), target=1, at=Site("linear"))
    answer = explain(Sorted().double().eval(), METHODS["deep_lift"](), question)
    assert answer.uncovered_ops == ()


def test_parameters_do_not_count_as_what_is_explained() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(numbers(8, 3))
            self.scale = nn.Parameter(numbers(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            norm = torch.linalg.matrix_norm(self.weight, 2)
            # Of its own first dimension, not of the rows.
            scale = torch.stack([self.scale, self.scale]).prod(1).relu().sum(0)
            return x @ (self.weight / norm) * scale

    assert explained(Weighted().eval()).uncovered_ops == ()


def test_rows_that_a_model_moves_are_followed() -> None:
    ones = torch.ones(6, 1, 8, dtype=torch.float64)
    moved: list[Function] = [
        lambda x: torch.relu(x.T).T @ _second,
        lambda x: torch.stack([x @ _first, x]).relu().sum(0) @ _second,
        lambda x: torch.cat([x @ _first, x]).relu().view(2, -1, 8).sum(0) @ _second,
        # As many as there are rows in the batch, and they are no rows.
        lambda x: (x @ _first + ones).relu().mean(0) @ _second,
        lambda x: (x.unsqueeze(0) + ones[:, :, :1]).relu().mean(0) @ _second,
        lambda x: x.unsqueeze(0).expand(6, -1, -1).tanh().softmax(-1).mean(0) @ _second,
        lambda x: x.view(-1, 2, 4).permute(2, 0, 1).relu().permute(1, 2, 0).flatten(1) @ _second,
        lambda x: torch.einsum("bi->ib", x).tanh().transpose(0, 1) @ _second,
        lambda x: F.linear(x.repeat(3, 1), _first).relu().view(3, -1, 8).mean(0) @ _second,
        lambda x: x.repeat_interleave(2, 0).relu().view(-1, 16)[:, ::2] @ _second,
    ]
    for function in moved:
        answer = explained(function)
        assert answer.uncovered_ops == ()
        assert answer.completeness_error is not None
        assert answer.completeness_error.max() < 1e-12


def test_rows_that_are_lost_are_reported() -> None:
    order = torch.tensor([1, 0, 3, 2, 5, 4])
    answer = explained(lambda x: torch.relu((x @ _first)[order])[order] @ _second)
    assert answer.uncovered_ops == ("getitem", "relu")
    chosen = explained(lambda x: torch.where((x @ _first)[order] > 0, x, 0.1 * x) @ _second)
    assert chosen.uncovered_ops == ("getitem", "gt", "where")
    turned = explained(lambda x: F.adaptive_max_pool1d(x.T[None], 6)[0].T @ _second)
    assert turned.uncovered_ops == ("adaptive_max_pool1d",)


def test_layouts_of_time_first_and_rows_first_agree() -> None:
    first, last = seeded(NETWORKS["encoder"][0]), seeded(NETWORKS["encoder, time first"][0])
    last.load_state_dict(first.state_dict())
    # As many steps as the batch has rows, so that no shape tells them apart.
    question = Explicand.of(numbers(2, 4, 8), target=1, baselines=numbers(2, 4, 8, seed=1))
    expected = explain(first, METHODS["deep_lift"](), question)
    answer = explain(last, METHODS["deep_lift"](), question)
    torch.testing.assert_close(answer.values, expected.values, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet", "encoder"])
def test_threads_that_share_a_model_do_not_disturb_each_other(name: str) -> None:
    make, shape = NETWORKS[name]
    model, x = seeded(make), numbers(2, *shape)
    methods = [METHODS[m]() for m in ("deep_lift", "guided_backprop", "saliency", "deconvolution")]
    expected = [explain(model, m, Explicand.of(x, target=1)).values[0] for m in methods]
    with torch.no_grad():
        plain = model(x)

    def work(i: int) -> Tensor:
        if i % 5 == 4:
            with torch.no_grad():
                return model(x)
        return explain(model, methods[i % 5], Explicand.of(x, target=1)).values[0]

    with ThreadPoolExecutor(4) as pool:
        for i, answer in enumerate(pool.map(work, range(20))):
            torch.testing.assert_close(answer, [*expected, plain][i % 5], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["deep_lift", "guided_backprop", "deconvolution"])
def test_nothing_is_left_on_the_model_or_in_the_thread(method: str) -> None:
    model = seeded(AttentionBlock)
    before, state = dict(vars(model.norm)), copy.deepcopy(model.state_dict())
    fast_path = torch.backends.mha.get_fastpath_enabled()
    explain(model, METHODS[method](), Explicand.of(numbers(2, 5, 8), target=1))

    def fails(x: Tensor) -> Tensor:
        raise ZeroDivisionError("in forward")

    with pytest.raises(ZeroDivisionError, match="in forward"):
        explained(fails, method)
    assert vars(model.norm).keys() == before.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert _get_current_function_mode_stack() == []
    assert torch.backends.mha.get_fastpath_enabled() == fast_path
