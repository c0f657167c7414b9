"""The check that a model is in evaluation mode."""

from __future__ import annotations

from torch import nn

from adcaptum.engine.errors import ModelError
from adcaptum.engine.execution.evaluator import Model
from adcaptum.engine.execution.modules import every_module

_DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
# These drop out by themselves.
_DROPPING_OUT = (nn.RNNBase, nn.MultiheadAttention)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def check_mode(model: Model) -> None:
    """Refuses a model whose answers would depend on the batch, or change it.

    Raises:
        ModelError: If a dropout, or a norm that keeps statistics, is in training mode.
    """
    if not isinstance(model, nn.Module):
        return
    for module in every_module(model):
        if module.training and _unsteady(module):
            name = next(name for name, each in model.named_modules() if each is module)
            raise ModelError(
                f"layer {name!r} ({type(module).__name__}) is in training mode: its answers depend "
                "on chance or on the batch; call model.eval() first"
            )


def _unsteady(module: nn.Module) -> bool:
    """Returns whether a module's answers depend on chance or on the batch in training mode."""
    return _random(module) or _tracking(module)


def _random(module: nn.Module) -> bool:
    """Returns whether a module's answers depend on chance in training mode."""
    if isinstance(module, _DROPOUTS):
        return module.p > 0
    return isinstance(module, _DROPPING_OUT) and module.dropout > 0


def _tracking(module: nn.Module) -> bool:
    """Returns whether a batch changes a module or its answers in training mode."""
    if isinstance(module, _INSTANCE_NORMS):
        return module.track_running_stats
    return isinstance(module, _BATCH_NORMS)
