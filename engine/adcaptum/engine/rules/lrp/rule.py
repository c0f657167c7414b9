"""Layer-wise relevance propagation as a backward rule on operations.

Bach et al. (2015), https://doi.org/10.1371/journal.pone.0130140; for attention Achtibat et al.
(2024), https://arxiv.org/abs/2402.05602, or Ali et al. (2022), https://arxiv.org/abs/2202.07304.
An evaluation under this rule has relevance in place of gradients, for a target of relevance 1.

- Affine maps have the composite's rule, and are merged with a batch norm that follows them.
- Sums, means, pools and interpolation share relevance in proportion to contributions.
- Functions of each element pass relevance unchanged. So do products with constants, and quotients,
  to their numerator. A product with a reciprocal, or a negative power, is such a quotient; 1 + tanh
  is a gate like the sigmoid, and so
  is u + 3 clipped to [0, 6], of which hard swish is written.
- Maxima pass relevance to the largest element.
- Products of activations, softmax: see `Composite.gates`. Normalisations: see `Centred`.
- Any other operation shares in proportion to values times gradients, and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adcaptum.engine.rules.dispatch_table import DispatchTable, run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception
from adcaptum.engine.rules.lrp.complex_numbers import CROSSING, crossing
from adcaptum.engine.rules.lrp.composites import Composite
from adcaptum.engine.rules.lrp.elementwise import (
    alone,
    bounded,
    clipped,
    divided,
    gate,
    group_norm,
    layer_norm,
    multiplied,
    passing,
    power,
    reciprocal,
    share,
    softmax,
    total,
    unknown,
)
from adcaptum.engine.rules.lrp.layers import LAYERS, product
from adcaptum.engine.rules.lrp.propagation import Propagation
from adcaptum.engine.rules.operations import (
    BILINEAR,
    BINARY,
    ELEMENTWISE,
    LINEAR,
    MOVEMENT,
    WHOLE,
    words,
)
from adcaptum.engine.rules.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Relevance:
    """The backward rule of layer-wise relevance propagation.

    Attributes:
        composite: The choice of a rule for each operation.
    """

    composite: Composite = field(default_factory=Composite)

    def interception(self, model: object, pairs: Pairs | None) -> Interception:  # noqa: ARG002
        """Makes the interception of one batch."""
        return Propagation(RELEVANCE, self.composite, model)


_SUMS = words("fold col2im index_add scatter_add trace")
_PASSING = words("neg square rad2deg deg2rad log_softmax rms_norm float_power")

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(LINEAR | _SUMS, share),
    **{name: alone(name) for name in ELEMENTWISE | BINARY},
    **dict.fromkeys(BILINEAR, product),
    **dict.fromkeys(_PASSING, passing),
    **LAYERS,
    **dict.fromkeys(("add", "__radd__"), total(1)),
    "sub": total(-1),
    **dict.fromkeys(("rsub", "__rsub__"), total(0)),
    "mul": multiplied,
    "div": divided,
    **dict.fromkeys(("sigmoid", "hardsigmoid"), gate),
    **dict.fromkeys(("tanh", "erf", "softsign"), bounded),
    "clamp": clipped(None, None, "min", "max"),
    "hardtanh": clipped(-1, 1, "min_val", "max_val"),
    "relu6": clipped(0, 6, "", ""),
    **dict.fromkeys(("reciprocal", "rsqrt"), reciprocal),
    "pow": power,
    "softmax": softmax,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "lerp": unknown("lerp"),
}
"""The handlers of the rule by operation."""

PLAIN = (
    (MOVEMENT - _SUMS)
    | words("""
    max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    max min amax amin maximum minimum fmax fmin median mode kthvalue cummax cummin sort topk msort
    max_unpool1d max_unpool2d max_unpool3d where masked_fill dropout feature_dropout alpha_dropout
    feature_alpha_dropout positive embedding
""")
    | WHOLE - ELEMENTWISE
)

HIDDEN = ELEMENTWISE | words("""
    convolution addmm softmax log_softmax native_layer_norm native_group_norm native_batch_norm
    scaled_dot_product_flash_attention_for_cpu scaled_dot_product_efficient_attention
""")


def _moved(
    interception: Interception,  # noqa: ARG001 - a handler
    func: Func,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    return run_plain(func, args, kwargs)


_REAL = {
    **dict.fromkeys(CROSSING, _moved),
    **{name: handler for name, handler in HANDLERS.items() if name not in PLAIN},
}

RELEVANCE = DispatchTable(
    {name: crossing(name, handler) for name, handler in _REAL.items()},
    PLAIN,
    HIDDEN,
    otherwise=unknown,
)
