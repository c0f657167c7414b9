"""DeepLIFT's Rescale rule on operations.

Shrikumar, Greenside, Kundaje (2017), https://arxiv.org/abs/1704.02685. Each operation's output
difference is attributed to its input differences, completely, for each row:

- linear operations by their coefficients (section 3.5.1);
- functions of one element by the quotient of the differences (3.5.2);
- products and other functions of two activations by the Shapley values of the two; quotients such
  that the product of quotient and divisor has these values;
- maxima, softmax and normalisations as their files say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from adcaptum.engine.rules.deep_lift.complex_numbers import COMPLEX
from adcaptum.engine.rules.deep_lift.differences import (
    binary,
    division,
    elementwise,
    pairs_of,
    relu,
    uncovered,
)
from adcaptum.engine.rules.deep_lift.maxima import MAXIMA
from adcaptum.engine.rules.deep_lift.norms import NORMS
from adcaptum.engine.rules.deep_lift.products import midpoint, power, product
from adcaptum.engine.rules.deep_lift.softmaxes import SOFTMAXES
from adcaptum.engine.rules.deep_lift.steps import MAKERS
from adcaptum.engine.rules.dispatch_table import DispatchTable, run_plain
from adcaptum.engine.rules.interception import Func, Handler, Interception
from adcaptum.engine.rules.operations import (
    BILINEAR,
    BINARY,
    ELEMENTWISE,
    LINEAR,
    MOVEMENT,
    QUADRATIC,
    name_of,
    words,
)
from adcaptum.engine.rules.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Rescale:
    """The Rescale rule; it has no parameters."""

    def interception(self, model: object, pairs: Pairs | None) -> Interception:  # noqa: ARG002
        """Makes the interception of one batch."""
        return Interception(RESCALE, pairs)


def chosen(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`where` and `masked_fill`: linear where row and reference choose alike, else uncovered."""
    result = run_plain(func, args, kwargs)
    given = list(args) + list(kwargs.values())
    condition = next(t for t in given if isinstance(t, torch.Tensor) and t.dtype == torch.bool)
    pairs = pairs_of(interception)
    pairs.follow("where", func, args, kwargs, result)
    if pairs.is_common(condition, result):
        return result
    condition = condition.expand(result.shape)
    if bool((condition != pairs.of(condition, like=result)).any()):
        interception.report("where", result, (args, kwargs))
    return result


def picked(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Indexing: linear where row and reference pick the same elements, else uncovered."""
    result = run_plain(func, args, kwargs)
    pairs = pairs_of(interception)
    source: torch.Tensor = args[0] if args else kwargs["input"]
    for index in tree_leaves((args[1:], kwargs)):
        if not isinstance(index, torch.Tensor) or index is source:
            continue
        # An index without a proxy depends on further arguments of the model only, which row and
        # reference share; but it may exchange rows.
        computed = interception.proxies.of(index) is not None
        if not computed and not (_is_first(index, args, kwargs) and pairs.leads(source)):
            continue
        same = _same(pairs, index, func, args, kwargs, result)
        if same is False or (same is None and computed):
            interception.report(name_of(func)[0].strip("_"), result, (args, kwargs))
    return result


def _same(
    pairs: Pairs,
    index: torch.Tensor,
    func: Func,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
) -> bool | None:
    """Returns whether each row has the index of its reference; None: the index has no rows."""
    if pairs.asks_no_more:
        return None
    if index.shape[:1] == (pairs.rows,):
        start, rows = pairs.of(index), torch.arange(pairs.rows, device=index.device)
        its_own = index == rows.view(-1, *(1,) * (index.dim() - 1))
        if _is_first(index, args, kwargs) and bool(its_own.all()):
            return True
        return not bool((index != start).any())
    if index.shape != result.shape or index.numel() % pairs.rows:
        return None
    # Each element has an index of its own, and the rows stand somewhere behind.
    pairs.follow(name_of(func)[0], func, args, kwargs, result)
    return not bool((index != pairs.of(index, like=result)).any())


def _is_first(index: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether an index is of the first dimension, which may hold the rows."""
    given = [v for v in (*args[1:], kwargs.get("dim")) if type(v) is int]
    if given:
        return given[0] == 0
    where = args[1] if len(args) > 1 else None
    return index is (where[0] if isinstance(where, tuple) else where)


def unless_training(position: int, name: str) -> Handler:
    """Returns the handler of an operation that is linear unless a flag at a position is true."""

    def handler(
        interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        training = args[position] if len(args) > position else kwargs.get(name, False)
        never = name == "train" and len(args) > 1 and args[1] == 0
        if training and not never:
            return uncovered(interception, func, args, kwargs)
        return run_plain(func, args, kwargs)

    return handler


def grid_sample(
    interception: Interception, func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Sampling at given points, which is linear in the sampled values."""
    if len(args) > 1 and isinstance(args[1], torch.Tensor) and args[1].requires_grad:
        return uncovered(interception, func, args, kwargs)
    return run_plain(func, args, kwargs)


CHECKED = words("""
    __getitem__ gather take_along_dim index_select max_unpool1d max_unpool2d max_unpool3d
""")

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(BINARY, binary),
    **dict.fromkeys(BILINEAR, product),
    **dict.fromkeys(QUADRATIC, midpoint),
    **COMPLEX,
    **MAXIMA,
    **NORMS,
    **SOFTMAXES,
    "relu": relu,
    "div": division,
    "pow": power,
    "grid_sampler": grid_sample,
    "where": chosen,
    **dict.fromkeys(CHECKED, picked),
    "masked_fill": chosen,
    "batch_norm": unless_training(5, "training"),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), unless_training(2, "train")),
    "feature_alpha_dropout": unless_training(2, "train"),
}
"""The handlers of the rule by operation."""

PLAIN = LINEAR | MOVEMENT

_LAYERS = words("""
    native_layer_norm native_group_norm softmax log_softmax logsumexp max min amax amin
    max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d
    scaled_dot_product_flash_attention_for_cpu scaled_dot_product_efficient_attention
""")

HIDDEN = ELEMENTWISE | _LAYERS

RESCALE = DispatchTable(HANDLERS, PLAIN, HIDDEN, makers=MAKERS, checked=CHECKED)
