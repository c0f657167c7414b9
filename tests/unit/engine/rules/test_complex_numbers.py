"""DeepLIFT through complex numbers: every attribution adds up, or its operation is listed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Explicand, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

Function = Callable[[Tensor], Tensor]

_FILTER = torch.complex(numbers(5, seed=3), numbers(5, seed=4))
_WIDE = torch.complex(numbers(256, 256, seed=5), numbers(256, 256, seed=6))


def pairs(x: Tensor) -> Tensor:
    """Neighbours as real and imaginary part, (rows, 4)."""
    return torch.view_as_complex(x.reshape(len(x), 4, 2))


def square(x: Tensor) -> Tensor:
    z = pairs(x)
    return (z * z).real


def widened(x: Tensor) -> Tensor:
    """A complex linear layer with as many elements as the large form of the rule needs."""
    z = torch.view_as_complex(x.repeat(1, 64).reshape(len(x), 256, 2))
    z = torch.nn.functional.linear(z.expand(16, -1, -1).movedim(0, 1), _WIDE)
    return (z * z.conj()).real[:, 0, :4]


COVERED: dict[str, Function] = {
    "square": square,
    "square, imaginary part": lambda x: (pairs(x) * pairs(x)).imag,
    "power": lambda x: (pairs(x) ** 2).imag,
    "times its conjugate": lambda x: (pairs(x) * pairs(x).conj()).real,
    "a convolution by its spectrum": lambda x: torch.fft.irfft(
        torch.fft.rfft(x) * torch.fft.rfft(x.cumsum(1))
    )[:, :4],
    "a filter": lambda x: torch.fft.irfft(torch.fft.rfft(x) * _FILTER).square(),
    "matmul": lambda x: (pairs(x).view(-1, 2, 2) @ pairs(x).view(-1, 2, 2).mT).imag.flatten(1),
    "bmm": lambda x: torch.bmm(pairs(x).view(-1, 2, 2), pairs(x).view(-1, 2, 2)).real.flatten(1),
    "einsum": lambda x: torch.einsum("bi,bj->bij", pairs(x), pairs(x).conj()).imag.flatten(1),
    "addcmul": lambda x: torch.addcmul(pairs(x), pairs(x), pairs(x)).real,
    "real times complex": lambda x: (x[:, :4] * pairs(x)).imag,
    "quotient": lambda x: (pairs(x) / (pairs(x.flip(1)) + 3)).real,
    "quotient by a real number": lambda x: (pairs(x) / (x[:, :4] + 4)).imag,
    "modulus": lambda x: pairs(x).abs(),
    "modulus of a spectrum, squared": lambda x: torch.fft.rfft(x).abs().square(),
    "angle": lambda x: torch.angle(pairs(x) + 4),
    "norm": lambda x: torch.linalg.vector_norm(pairs(x), dim=1, keepdim=True),
    "polar": lambda x: torch.polar(x, x.flip(1)).imag,
    "from two parts": lambda x: torch.complex(x, x.sin()).square().real,
    "short-time spectrum": lambda x: (
        torch.stft(
            x, 4, window=torch.ones(4, dtype=x.dtype), center=False, return_complex=True
        ).abs()
    ).flatten(1),
    "a large linear layer": widened,
}

LISTED: dict[str, tuple[Function, str]] = {
    "exponential": (lambda x: torch.exp(pairs(x)).real, "exp"),
    "cube": (lambda x: (pairs(x) ** 3).real, "pow"),
    "power of two complex numbers": (lambda x: (pairs(x) ** pairs(x)).real, "pow"),
}


def explained(function: Function, rule: str, *, strict: bool = False) -> tuple[Tensor, object]:
    x, x0 = numbers(3, 8), numbers(3, 8, seed=1)
    question = Explicand.of(x, baselines=x0, target=0)
    method = resolve(METHODS["deep_lift"], {"rule": rule, "strict": strict})
    answer = explain(function, method, question)
    assert answer.completeness_error is not None
    return answer.completeness_error, answer.uncovered_ops


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("name", COVERED)
def test_what_is_covered_adds_up(name: str, rule: str) -> None:
    error, uncovered = explained(COVERED[name], rule)
    assert uncovered == ()
    assert float(error.max()) < 1e-9


@pytest.mark.parametrize("name", LISTED)
def test_what_is_not_covered_is_listed(name: str) -> None:
    function, operation = LISTED[name]
    _, uncovered = explained(function, "rescale")
    assert uncovered == (operation,)


def test_the_square_of_a_complex_number_has_its_conjugate_as_multiplier() -> None:
    def function(x: Tensor) -> Tensor:
        z = torch.view_as_complex(x[:, None])
        return (z * z).real[:, 0]

    question = Explicand.of(torch.tensor([[2.0, 1.0]]), baselines=torch.zeros(1, 2))
    answer = explain(function, METHODS["deep_lift"](), question)
    torch.testing.assert_close(answer.values[0], torch.tensor([[4.0, -1.0]]))
