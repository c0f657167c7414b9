"""Weights from a safetensors file."""

import safetensors
import safetensors.torch
from torch import nn

from adcaptum.service.models.loaders.loader import Source


def set_weights(module: nn.Module, source: Source) -> None:
    """Sets all weights of a module.

    Raises:
        DeclarationError: The file does not fit the module.
    """
    try:
        module.load_state_dict(safetensors.torch.load_file(source.file), strict=True)
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise source.error(str(error)) from error


def check_finite(module: nn.Module, source: Source) -> None:
    """Raises `DeclarationError` if a weight is NaN or infinite."""
    # A buffer may hold infinities, such as those of an attention mask.
    wrong = {name: ~tensor.isfinite() for name, tensor in module.named_parameters()}
    wrong |= {name: tensor.isnan() for name, tensor in module.named_buffers()}
    for name, places in wrong.items():
        if count := int(places.sum()):
            problem = f"{name!r}: {count} of {places.numel()} numbers are not finite"
            raise source.error(problem)
