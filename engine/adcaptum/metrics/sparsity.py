"""Measures of how few features attributions need."""

from __future__ import annotations

from adcaptum.attr.facade.forms import Tensors
from adcaptum.engine.metrics.score import Score
from adcaptum.engine.metrics.sparsity import effective_count, entropy, gini_index
from adcaptum.metrics.attributions import own_attributions


def sparseness(attributions: Tensors) -> Score:
    """Measures the Gini index of magnitudes, from 0 (all equal) to nearly 1.

    Chalasani, Chen, Chowdhury, Jha, Wu (2020), https://arxiv.org/abs/1810.06583.

    Args:
        attributions: A tensor, or a tuple of one per input, (examples, *features) each.
    """
    return gini_index(own_attributions(attributions))


def complexity(attributions: Tensors) -> Score:
    """Measures the entropy of the magnitudes' shares, in nats.

    Bhatt, Weller, Moura (2020), https://arxiv.org/abs/2005.00631.

    Args:
        attributions: A tensor, or a tuple of one per input, (examples, *features) each.
    """
    return entropy(own_attributions(attributions))


def effective_complexity(attributions: Tensors, threshold: float = 1e-5) -> Score:
    """Counts the elements whose magnitude is above a threshold.

    Nguyen, Martinez (2020), https://arxiv.org/abs/2007.07584.

    Args:
        attributions: A tensor, or a tuple of one per input, (examples, *features) each.
        threshold: The threshold, in the attributions' units.
    """
    return effective_count(own_attributions(attributions), threshold)
