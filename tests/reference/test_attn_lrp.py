"""AttnLRP on a language model, against a transcription of its rules as changed gradients.

Achtibat et al. (2024), https://arxiv.org/abs/2402.05602: with the identity for normalisations and
activations, halves for the factors of products and the softmax's own gradient, relevance is the
input times a gradient, of a network in which some factors are constants.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

WIDTH, HEADS, KEYS, HEAD = 16, 4, 2, 4
Norm = Callable[[Tensor, Tensor], Tensor]


def rms_by_rsqrt(x: Tensor, weight: Tensor) -> Tensor:
    """As transformers writes it, casts included."""
    h = x.to(torch.float64)
    return weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


NORMS: dict[str, Norm] = {
    "rsqrt": rms_by_rsqrt,
    "rsqrt, method": lambda x, w: w * (x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()),
    "reciprocal": lambda x, w: w * x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt().reciprocal(),
    "one by": lambda x, w: w * x * (1 / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "root of one by": lambda x, w: w * x * (1 / (x.pow(2).mean(-1, keepdim=True) + 1e-6)).sqrt(),
    "power": lambda x, w: (x.pow(2).mean(-1, keepdim=True) + 1e-6).pow(-0.5) * x * w,
    "power of a reciprocal": lambda x, w: (
        x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).reciprocal() ** 0.5 * w
    ),
    "weight and scale": lambda x, w: x * (w * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "quotient": lambda x, w: w * (x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()),
    "one operation": lambda x, w: functional.rms_norm(x, (WIDTH,), w, 1e-6),
}


class Block(nn.Module):
    """Llama's block: grouped queries, rotary embeddings, and a SiLU gate."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.Parameter(torch.rand(WIDTH) + 0.5) for _ in range(2))
        self.q = nn.Linear(WIDTH, HEADS * HEAD, bias=False)
        self.k, self.v = (nn.Linear(WIDTH, KEYS * HEAD, bias=False) for _ in range(2))
        self.o = nn.Linear(HEADS * HEAD, WIDTH, bias=False)
        self.gate, self.up = (nn.Linear(WIDTH, 32, bias=False) for _ in range(2))
        self.down = nn.Linear(32, WIDTH, bias=False)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (rows, heads, time, features)."""
        q, k, v = (
            layer(x).view(*x.shape[:2], -1, HEAD).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        k, v = (t.repeat_interleave(HEADS // KEYS, 1) for t in (k, v))
        return rotated(q), rotated(k), v


class Llama(nn.Module):
    """From embeddings (rows, time, width) to the last token's logits."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.blocks = nn.ModuleList(Block() for _ in range(2))
            self.norm = nn.Parameter(torch.rand(WIDTH) + 0.5)
            self.head = nn.Linear(WIDTH, 5, bias=False)
        self._normalise = norm
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            assert isinstance(block, Block)
            q, k, v = block.heads(self._normalise(x, block.norm1))
            scores = q @ k.mT / HEAD**0.5 + causal(x)
            mixed = torch.softmax(scores, -1) @ v
            x = x + block.o(mixed.transpose(1, 2).flatten(2))
            h = self._normalise(x, block.norm2)
            x = x + block.down(functional.silu(block.gate(h)) * block.up(h))
        return self.head(self._normalise(x, self.norm)[:, -1])


def transcribed(model: Llama, x: Tensor) -> Tensor:
    """The network whose gradient times input is AttnLRP's relevance: the same value."""

    def normalised(x: Tensor, weight: Tensor) -> Tensor:
        return weight * x * torch.rsqrt(x.detach().pow(2).mean(-1, keepdim=True) + 1e-6)

    def halved(multiply: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
        return (multiply(a, b.detach()) + multiply(a.detach(), b)) / 2

    for block in model.blocks:
        assert isinstance(block, Block)
        q, k, v = block.heads(normalised(x, block.norm1))
        scores = halved(lambda a, b: a @ b.mT, q, k) / HEAD**0.5 + causal(x)
        mixed = halved(torch.matmul, torch.softmax(scores, -1), v)
        x = x + block.o(mixed.transpose(1, 2).flatten(2))
        h = normalised(x, block.norm2)
        gate = block.gate(h)
        x = x + block.down(halved(torch.mul, gate * torch.sigmoid(gate).detach(), block.up(h)))
    return model.head(normalised(x, model.norm)[:, -1])


def rotated(x: Tensor) -> Tensor:
    """Rotary embeddings, as transformers writes them."""
    angles = torch.outer(torch.arange(x.shape[2]), torch.tensor([1.0, 0.1])).to(x.dtype)
    cos, sin = (f(torch.cat([angles, angles], -1)) for f in (torch.cos, torch.sin))
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def causal(x: Tensor) -> Tensor:
    time = x.shape[1]
    return torch.full((time, time), -torch.inf, dtype=x.dtype).triu(1)


@pytest.mark.parametrize("name", NORMS)
def test_relevance_of_tokens_is_that_of_the_transcription(name: str) -> None:
    model, x = Llama(NORMS[name]), numbers(2, 6, WIDTH)
    method = resolve(METHODS["lrp"], {"composite": "attn_lrp"})
    answer = explain(model, method, Explicand.of(x, target=3))
    point = x.clone().requires_grad_()
    output = transcribed(model, point)[:, 3]
    (gradient,) = torch.autograd.grad(output.sum(), point)
    assert answer.output is not None
    torch.testing.assert_close(answer.output, output.detach(), rtol=1e-12, atol=1e-12)
    expected = gradient * x
    assert answer.uncovered_ops == ()
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NORMS)
def test_normalisations_that_are_written_out_conserve_relevance(name: str) -> None:
    method = resolve(METHODS["lrp"], {"composite": "epsilon"})
    answer = explain(Llama(NORMS[name]), method, Explicand.of(numbers(2, 6, WIDTH), target=3))
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-9


GATED: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh, as GPT-2": lambda x: (
        0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))))
    ),
    "tanh, the other way": lambda x: (
        x * (0.5 * torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x * x * x)) + 0.5)
    ),
    "erf": lambda x: x * 0.5 * (torch.erf(x / 2**0.5) + 1),
    "sigmoid": lambda x: x * torch.sigmoid(1.702 * x),
    "one operation": functional.gelu,
    "hard swish, as MobileNetV3": lambda x: x * functional.relu6(x + 3) / 6,
    "in place": lambda x: x * (functional.relu6(x + 3, inplace=True) / 6),
    "by clipping": lambda x: x * torch.clamp(x / 6 + 0.5, 0, 1),
    "the other way": lambda x: ((3 + x) / 6).clamp(min=0, max=1) * x,
    "by hardtanh": lambda x: functional.hardtanh(x + 3, 0.0, 6.0).mul_(x).div_(6),
}
"""Activations that are a value times a gate of it."""


@pytest.mark.parametrize("composite", ["epsilon", "attn_lrp"])
@pytest.mark.parametrize("name", GATED)
def test_an_activation_that_is_written_out_passes_all_relevance(name: str, composite: str) -> None:
    weights = numbers(8, 8, seed=1), numbers(8, 3, seed=2)

    def model(x: Tensor) -> Tensor:
        return GATED[name](x @ weights[0]) @ weights[1]

    x = numbers(4, 8)
    method = resolve(METHODS["lrp"], {"composite": composite})
    answer = explain(model, method, Explicand.of(x, target=1))
    hidden = x @ weights[0]
    passed = GATED[name](hidden) * weights[1][:, 1]
    expected = x * ((passed / hidden) @ weights[0].T)
    assert answer.uncovered_ops == ()
    torch.testing.assert_close(answer.values[0], expected, rtol=1e-9, atol=1e-9)


def test_a_tanh_with_a_smaller_constant_is_a_sum_as_ever() -> None:
    weight = numbers(2, 2, seed=1)
    method = resolve(METHODS["lrp"], {"composite": "epsilon"})
    question = Explicand.of(numbers(1, 2))
    answer = explain(lambda x: (torch.tanh(x @ weight) + 0.5).sum(1), method, question)
    # The constants keep their share.
    assert answer.completeness_error is not None
    torch.testing.assert_close(answer.completeness_error, torch.ones(1).double())


def test_clipping_that_is_no_gate_leaves_constants_their_share() -> None:
    weight = numbers(2, 2, seed=1)
    method = resolve(METHODS["lrp"], {"composite": "epsilon"})
    for least in (-1.0, 0.25):
        answer = explain(
            lambda x, least=least: (x @ weight + 0.5).clamp(least, 3.0).sum(1),
            method,
            Explicand.of(torch.tensor([[1.0, 0.5]]).double()),
        )
        assert answer.completeness_error is not None
        torch.testing.assert_close(answer.completeness_error, torch.ones(1).double())
