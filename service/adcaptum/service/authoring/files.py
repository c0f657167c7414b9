"""Files that people hand over: examples as NumPy arrays, weights, classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from adcaptum.service.authoring.errors import AuthoringError

PICKLES: Final = (".pt", ".pth", ".bin", ".ckpt")
"""Ends of names of PyTorch's own checkpoints."""


def examples(path: Path) -> list[Tensor] | dict[str, Tensor]:
    """Reads a .npy file of one input, or a .npz file of one array per input.

    Raises:
        AuthoringError: It cannot be read.
    """
    try:
        read: Any = np.load(path, allow_pickle=False)
        if isinstance(read, np.ndarray):
            return [torch.from_numpy(read)]
        with read as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, EOFError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise AuthoringError(
            f"{path}: {reason}; must be a .npy file, or .npz with an array per input"
        ) from error


def weights(path: Path) -> dict[str, Tensor]:
    """Reads a state dict from safetensors, or from a checkpoint of tensors alone.

    Raises:
        AuthoringError: It cannot be read.
    """
    try:
        if path.suffix not in PICKLES:
            return safetensors.torch.load_file(path)
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nothing more precise
        raise AuthoringError(
            f"{path}: {str(error).splitlines()[0]}; must be safetensors, or a checkpoint of "
            f"tensors alone whose name ends in {', '.join(PICKLES)}"
        ) from error
    if isinstance(read, Mapping) and isinstance(read.get("state_dict"), Mapping):
        read = read["state_dict"]
    if not isinstance(read, Mapping) or not all(isinstance(v, Tensor) for v in read.values()):
        raise AuthoringError(f"{path}: holds no state dict; must be one, as of module.state_dict()")
    return dict(read)
