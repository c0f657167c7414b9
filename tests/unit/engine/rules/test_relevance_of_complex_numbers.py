"""Relevance propagation through spectra, rotations and other complex numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adcaptum.engine import METHODS, Attribution, Explicand, explain
from adcaptum.engine.vocabulary.parameters import resolve
from tests.models import numbers

Function = Callable[[Tensor], Tensor]

_before, _after = numbers(8, 8, seed=1), numbers(8, 3, seed=2)
_filter = torch.complex(numbers(5, seed=3), numbers(5, seed=4))


def pairs(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.reshape(len(x), 4, 2))


def flat(z: Tensor) -> Tensor:
    return torch.view_as_real(z).flatten(1)


def rotation() -> Tensor:
    """As Llama's reference code has it."""
    angles = torch.arange(4, dtype=torch.float64)
    return torch.polar(torch.ones_like(angles), angles)


LINEAR: dict[str, Function] = {
    "filter": lambda x: torch.fft.irfft(torch.fft.rfft(x) * _filter),
    "rotation": lambda x: flat(pairs(x) * rotation()),
    "spectrum": lambda x: torch.fft.fft(x).real,
    "matrix": lambda x: flat(pairs(x) @ torch.complex(_before[:4, :4], _before[4:, 4:])),
    "from two parts": lambda x: torch.complex(x, x.flip(1)).imag,
    "cast": lambda x: (x.to(torch.complex128) * (1 + 2j)).imag,
    "quotient": lambda x: flat(pairs(x) / rotation()),
}

CONSERVING: dict[str, Function] = LINEAR | {
    "convolution": lambda x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(x @ _before)),
    "power spectrum": lambda x: (torch.fft.fft(x) * torch.fft.fft(x).conj()).real,
    "modulus": lambda x: torch.fft.fft(x).abs(),
    "modulus by modulus": lambda x: torch.fft.fft(x).abs() * torch.fft.fft(x).abs(),
    "square": lambda x: flat(pairs(x).square()),
    "normalised": lambda x: flat(pairs(x) / (1 + pairs(x).abs())),
}


def explained(function: Function) -> Attribution:
    method = resolve(METHODS["lrp"], {"composite": "epsilon"})
    return explain(
        lambda x: function(x @ _before) @ _after, method, Explicand.of(numbers(3, 8), target=1)
    )


@pytest.mark.parametrize("name", CONSERVING)
def test_relevance_is_conserved(name: str) -> None:
    answer = explained(CONSERVING[name])
    assert answer.uncovered_ops == ()
    assert answer.completeness_error is not None
    assert float(answer.completeness_error.max()) < 1e-9


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_chain_shares_as_its_matrix(name: str) -> None:
    matrix = LINEAR[name](torch.eye(8, dtype=torch.float64))
    answer, expected = explained(LINEAR[name]), explained(lambda x: x @ matrix)
    torch.testing.assert_close(answer.values[0], expected.values[0], rtol=1e-8, atol=1e-8)


def test_another_function_of_complex_numbers_is_listed() -> None:
    assert explained(lambda x: flat(torch.exp(pairs(x)))).uncovered_ops == ("exp",)
