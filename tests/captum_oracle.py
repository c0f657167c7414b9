"""Captum as an oracle: the same call of the same class there and here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from captum import attr as captum
from torch import Tensor

from adcaptum import attr


def silently(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call gives, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


def captums(name: str, construct: tuple[Any, ...], *args: Any, **kwargs: Any) -> Any:
    """Captum's answer to `name(*construct).attribute(*args, **kwargs)`."""
    method = silently(getattr(captum, name), *construct)
    return silently(method.attribute, *args, **kwargs)


def ours(name: str, construct: tuple[Any, ...], *args: Any, **kwargs: Any) -> Any:
    """The facade's answer to the same."""
    method = silently(getattr(attr, name), *construct)
    return silently(method.attribute, *args, **kwargs)


def assert_captums(
    name: str, construct: tuple[Any, ...], *args: Any, tolerance: float = 1e-5, **kwargs: Any
) -> None:
    """Asserts that both give the same, in the same containers, without a graph."""
    mine, theirs = ours(name, construct, *args, **kwargs), captums(name, construct, *args, **kwargs)
    assert_same(mine, theirs, tolerance)


def assert_same(mine: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    """Asserts that two answers are the same in values, containers and dtypes."""
    if isinstance(theirs, Tensor):
        assert isinstance(mine, Tensor)
        assert not mine.requires_grad
        torch.testing.assert_close(mine, theirs.detach(), rtol=tolerance, atol=tolerance)
        return
    assert type(mine) is type(theirs)
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        assert_same(one, other, tolerance)
