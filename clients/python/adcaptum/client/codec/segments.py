"""Superpixels of images as masks."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adcaptum.client.codec.inputs import Inputs
from adcaptum.client.errors import InvalidRequest
from adcaptum.client.mask import Mask, Masks, Superpixels
from adcaptum.client.results.model_info import InputInfo, InputKind

_DIMENSIONS: Final = 4


def segment(images: npt.NDArray[Any], asked: Superpixels) -> npt.NDArray[np.int64]:
    """Number the superpixels of images, all channels of a pixel alike.

    Args:
        images: Images of shape (examples, channels, height, width).
        asked: The superpixels.

    Returns:
        Whole numbers from 0, of the images' shape.

    Raises:
        ImportError: scikit-image is not installed.
    """
    try:
        slic = importlib.import_module("skimage.segmentation").slic
    except ImportError as error:
        raise ImportError(
            "superpixels need scikit-image: pip install 'adcaptum[superpixels]'"
        ) from error
    masks = np.empty(images.shape, np.int64)
    for mask, image in zip(masks, images, strict=True):
        coloured = len(image) == 3
        mask[:] = slic(
            np.moveaxis(image.astype(np.float64), 0, -1),
            n_segments=asked.count,
            # Lightness and colours differ by up to 100 there, other channels by up to 1.
            compactness=asked.compactness if coloured else asked.compactness / 100,
            channel_axis=-1,
            start_label=0,
            convert2lab=coloured,
        )
    return masks


def superpixels_of(masks: Masks | None) -> list[str]:
    """Return the names of inputs whose masks are superpixels; an empty one for masks of no name."""
    named = masks if isinstance(masks, Mapping) else {"": masks}
    return [name for name, mask in named.items() if isinstance(mask, Superpixels)]


def masks_by_input(masks: Masks, declared: Sequence[InputInfo]) -> dict[str, Mask]:
    """Return masks by the names of inputs.

    Raises:
        InvalidRequest: Superpixels are asked for where there is no image, or of another input.
    """
    images = [each.name for each in declared if each.kind is InputKind.IMAGE]
    named = dict(masks) if isinstance(masks, Mapping) else {"": masks}
    if "" in named and len(images) == 1 and isinstance(named[""], Superpixels):
        named[images[0]] = named.pop("")
    for name in superpixels_of(named):
        if name not in images:
            given = f"{name!r} is no image" if name else f"there are {len(images)} images"
            allowed = f"must be of {' or '.join(map(repr, images)) or 'an image'}"
            raise InvalidRequest(f"feature_masks: superpixels: {given}; {allowed}")
    return named


def pixels_of(inputs: Inputs, name: str, declared: Sequence[InputInfo]) -> npt.NDArray[Any] | None:
    """Return images as the model sees them, where they are given so; None for others."""
    given: object = inputs
    if isinstance(inputs, Mapping):
        given = inputs.get(name, inputs.get("", b"")) if len(declared) == 1 else inputs[name]
    if not isinstance(given, np.ndarray):
        return None
    return given if given.dtype.kind == "f" and given.ndim == _DIMENSIONS else None
