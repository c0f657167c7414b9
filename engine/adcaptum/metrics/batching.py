"""The number of samples that a measure draws at once, in Captum's terms."""

from __future__ import annotations

import warnings

from adcaptum.attr.errors import InvalidInput


def sizes_of(samples: int, examples: int, max_examples_per_batch: int | None) -> list[int]:
    """Cuts samples into those that are drawn at once.

    Args:
        samples: The number of samples of each example.
        examples: The number of examples.
        max_examples_per_batch: The most perturbed examples of a draw; None: all.

    Raises:
        InvalidInput: If there are no samples.
    """
    if samples < 1:
        raise InvalidInput("n_perturb_samples", samples, "at least 1")
    if max_examples_per_batch is None:
        return [samples]
    at_once = max_examples_per_batch // max(1, examples)
    if not 1 <= at_once <= samples:
        warnings.warn(
            f"`max_examples_per_batch` is {max_examples_per_batch}: it must be at least equal to "
            f"the {examples} examples and at most to their {examples * samples} perturbed copies",
            stacklevel=3,
        )
    at_once = min(max(1, at_once), samples)
    return [min(at_once, samples - first) for first in range(0, samples, at_once)]
