"""Measures of whether attributions depend on what the model has learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.facade.answer import drawn_seed
from adcaptum.attr.facade.captum_call import input_tensors
from adcaptum.attr.facade.forms import Tensors
from adcaptum.engine.metrics.average_ranks import average_ranks
from adcaptum.engine.metrics.correlation import correlation
from adcaptum.engine.metrics.score import Score, mean_score
from adcaptum.engine.rows.noise import Noisy, noise_scales
from adcaptum.metrics.attributions import own_attributions

Explain = Callable[[nn.Module, Any], Any]
"""Explains inputs by a model: `lambda model, x: Saliency(model).attribute(x, target=0)`."""

_BINS = 100


def mprt(
    model: nn.Module,
    explain: Explain,
    inputs: Tensors,
    *,
    bottom_up: bool = False,
    n_noisy: int = 0,
    noise_level: float = 0.1,
) -> Score:
    """Measures how like attributions stay as the model's layers become random, one after another.

    The model parameter randomisation test: Adebayo et al. (2018), https://arxiv.org/abs/1810.03292,
    by Spearman's rank correlation; small where attributions depend on the weights. With noisy
    copies the smooth test, sMPRT: Hedström et al. (2024), https://arxiv.org/abs/2401.06465. The
    draws follow `torch.manual_seed`; the model itself is not changed.

    Args:
        model: The model.
        explain: A function of a model and inputs that returns attributions, such as
            `lambda model, x: Saliency(model).attribute(x, target=0)`.
        inputs: A tensor, or a tuple of one per input.
        bottom_up: Whether layers become random from the input on, instead of from the output on.
        n_noisy: The number of noisy copies over which attributions are averaged; 0: the inputs
            themselves.
        noise_level: The standard deviation of their noise, relative to the range of each example's
            values.

    Returns:
        The score: the correlation with all layers random, and the curve of one layer more at each
        point.
    """
    if n_noisy < 0:
        raise InvalidInput("n_noisy", n_noisy, "at least 0")
    seed = drawn_seed()

    def explained(of: nn.Module) -> Tensor:
        if not n_noisy:
            return _flat(explain(of, inputs))
        total: Tensor | float = 0.0
        for sample in range(n_noisy):
            total = total + _flat(explain(of, _noisy(inputs, noise_level, seed, sample)))
        assert isinstance(total, Tensor), "there is a copy"
        return total / n_noisy

    plain = average_ranks(explained(model))
    points = [
        correlation(plain, average_ranks(explained(randomised)))[0]
        for randomised in _randomised(model, seed, bottom_up=bottom_up)
    ]
    curve = torch.stack(points, 1).float()
    return Score(curve[:, -1], curve=curve)


def emprt(model: nn.Module, explain: Explain, inputs: Tensors, *, n_models: int = 1) -> Score:
    """Measures the relative rise of attributions' complexity when the whole model becomes random.

    The efficient test, eMPRT: Hedström et al. (2024), https://arxiv.org/abs/2401.06465; large where
    attributions depend on the weights. The complexity is the entropy of the histogram of an
    example's attributions, of 100 bins between their least and their largest.

    Args:
        model: The model.
        explain: As in `mprt`.
        inputs: A tensor, or a tuple of one per input.
        n_models: The number of random models.

    Returns:
        The score: the mean over the random models, and its standard error.
    """
    if n_models < 1:
        raise InvalidInput("n_models", n_models, "at least 1")
    plain = _histogram_entropy(_flat(explain(model, inputs)))
    rises = []
    for _ in range(n_models):
        *_, randomised = _randomised(model, drawn_seed(), bottom_up=False)
        there = _histogram_entropy(_flat(explain(randomised, inputs)))
        rises.append((there - plain) / plain)
    return mean_score(torch.stack(rises, 1), torch.float32)


def _randomised(model: nn.Module, seed: int, *, bottom_up: bool) -> Iterator[nn.Module]:
    """Makes one layer more random each time, on one copy of the model."""
    copied = deepcopy(model)
    layers = [m for m in copied.modules() if any(True for _ in m.parameters(recurse=False))]
    if not layers:
        raise InvalidInput("model", "without parameters", "one that has learnt something")
    for layer in layers if bottom_up else reversed(layers):
        with torch.random.fork_rng([]), torch.no_grad():
            torch.manual_seed(seed)
            seed += 1
            _reset(layer)
        yield copied


def _reset(layer: nn.Module) -> None:
    """Draws a layer's own parameters anew, on the CPU, so that every device has the same."""
    own = list(layer.parameters(recurse=False))
    device = own[0].device
    layer.cpu()
    reset = getattr(layer, "reset_parameters", None)
    if callable(reset):
        reset()
    else:
        # Their own numbers in another order: of the same distribution.
        for p in own:
            p.copy_(p.flatten()[torch.randperm(p.numel())].view(p.shape))
    layer.to(device)


def _noisy(inputs: Tensors, level: float, seed: int, sample: int) -> Tensors:
    tensors = input_tensors(inputs)
    scales = tuple(level * scale for scale in noise_scales(tensors))
    rows = Noisy(tensors, scales, seed, sample, 1)
    made = rows.take(0, len(rows))
    return made if isinstance(inputs, tuple) else made[0]


def _flat(attributions: Any) -> Tensor:
    each = own_attributions(attributions)
    return torch.cat([a.detach().cpu().double().reshape(len(a), -1) for a in each], 1)


def _histogram_entropy(values: Tensor) -> Tensor:
    """The entropy of each row's histogram, in nats, (rows,)."""
    found = []
    for row in values:
        shares = torch.histc(row, _BINS) / len(row)
        found.append(torch.special.entr(shares).sum())
    return torch.stack(found)
