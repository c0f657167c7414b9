"""Names of the outputs of models that explain."""

from typing import Final

ATTRIBUTIONS: Final = "attributions."
"""Contributions of the elements of an input, by its name."""

STANDARD_ERRORS: Final = "standard_errors."
"""Their standard errors; only where they are asked for."""

INDICES: Final = "indices."
"""Where a preset keeps the largest contributions only: their places in the input."""

LAYER: Final = "layer_attributions"
"""Contributions of the elements of a layer; of its further tensors with `.1` and so on."""

TOKENS: Final = "tokens."
"""The tokens of a text, by the name of the input."""

INTERACTIONS: Final = "interactions"
"""Contributions of pairs of features."""

FEATURES: Final = "interactions.features"
"""The names of these features."""

INDEX: Final = "target.index"
"""The index of the explained output."""

LABEL: Final = "target.label"
"""Its label."""

OUTPUT: Final = "target.output"
"""The explained number at the input."""

BASELINE_OUTPUT: Final = "target.baseline_output"
"""The explained number at the baseline."""

COMPLETENESS: Final = "error.completeness"
STANDARD_ERROR: Final = "error.standard_error"
RELATIVE: Final = "error.relative"
"""Estimates of the error of an explanation."""

PREDICTION: Final = "prediction."
"""An output of the model itself, by its name; only where it is asked for."""

ON_REQUEST: Final = (STANDARD_ERRORS, PREDICTION)
"""The begins of the names of outputs that come only where they are asked for."""
