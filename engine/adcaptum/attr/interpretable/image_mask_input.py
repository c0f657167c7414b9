"""Images with segments as features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adcaptum.attr.errors import InvalidInput
from adcaptum.attr.interpretable.interpretable_input import InterpretableInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image


Pixels = npt.NDArray[np.bool_]


def _unchanged(image: Image) -> Image:
    return image


class ImageMaskInput(InterpretableInput):
    """An image whose segments are features: absent ones are painted over.

    Attributes:
        image: The given image.
        mask: The segment of each pixel, (height, width); empty where there is a list of masks.
        mask_list: The pixels of each segment, bool (height, width); empty where there is a mask.
        mask_id_to_idx: The place of each segment's id among the features.
        baseline: The colour of absent segments.
        processor_fn: Converts an image to the model's input.
        original_model_inputs: The model's input for the given image.
    """

    def __init__(
        self,
        image: Image,
        mask: Tensor | None = None,
        mask_list: list[Tensor] | None = None,
        baseline: tuple[int, int, int] = (255, 255, 255),
        processor_fn: Callable[[Image], Any] = _unchanged,
    ) -> None:
        """Checks and stores the image and its segments.

        Args:
            image: A PIL image, in any mode; one with a palette is painted over in RGB.
            mask: The segment that each pixel belongs to, (height, width), any numbers; the whole
                image is one segment unless given.
            mask_list: The pixels of each segment, (height, width) each; segments may overlap. It
                takes the place of the mask.
            baseline: The colour of absent segments: red, green, blue from 0 to 255.
            processor_fn: Converts an image to the model's input; by default the image itself.

        Raises:
            AssertionError: If a mask has not the image's shape.
        """
        self.image = image
        self.baseline = baseline
        self.processor_fn = processor_fn
        shape = self._shape
        if mask_list is not None:
            for i, one in enumerate(mask_list):
                _check_shape(f"mask_list[{i}]", one, shape)
            ids: list[Any] = list(range(len(mask_list)))
            self.mask, self.mask_list = torch.empty(0), mask_list
        else:
            if mask is None:
                mask = torch.zeros(shape, dtype=torch.int32)
            _check_shape("mask", mask, shape)
            ids = torch.unique(mask).tolist()
            self.mask, self.mask_list = mask, []
        self.n_itp_features = len(ids)
        self.mask_id_to_idx = {id_: place for place, id_ in enumerate(ids)}
        self.values = [f"image_feature_{id_}" for id_ in ids]
        self.original_model_inputs = processor_fn(image)

    def to_tensor(self) -> Tensor:
        return torch.ones(1, self.n_itp_features)

    def to_model_input(self, perturbed_tensor: Tensor | None = None) -> Any:
        """Returns the model's input, with absent segments painted over.

        Args:
            perturbed_tensor: (1, n_itp_features), zero where a segment is absent.
        """
        if perturbed_tensor is None:
            return self.original_model_inputs
        absent = (perturbed_tensor[0] == 0).tolist()
        gone = np.zeros(self._shape, dtype=bool)
        for segment, is_absent in zip(self.get_mask_list(), absent, strict=True):
            if is_absent:
                gone |= _pixels(segment)
        return self.processor_fn(_painted(self.image, gone, self.baseline))

    def get_mask_list(self) -> list[Tensor]:
        """Returns the pixels of each segment, (height, width) each."""
        return self.mask_list or [self.mask == id_ for id_ in self.mask_id_to_idx]

    def format_pixel_attr(self, itp_attr: Tensor) -> Tensor:
        """Gives each pixel the sum of the attributions of its segments.

        Args:
            itp_attr: (*outputs, n_itp_features).

        Returns:
            A tensor (*outputs, height, width).
        """
        shown = torch.zeros((), dtype=itp_attr.dtype, device=itp_attr.device)
        total = itp_attr.new_zeros(*itp_attr.shape[:-1], *self._shape)
        for place, segment in enumerate(self.get_mask_list()):
            inside = segment.bool().to(itp_attr.device)
            total = total + torch.where(inside, itp_attr[..., place, None, None], shown)
        return total

    def plot_mask_overlay(
        self, show: bool = False, border_width: int = 0, show_legends: bool = True
    ) -> tuple[Figure, Axes] | None:
        """Draws the image with its segments in colours.

        Args:
            show: Whether to show the figure, by pyplot.
            border_width: The width of the line inside each segment's edge, in pixels; 0 for none.
            show_legends: Whether to write each segment's id on it.

        Returns:
            The figure and its axes; None where it was shown.
        """
        from adcaptum.attr.visualization.masks import (  # noqa: PLC0415 - matplotlib is optional
            mask_overlay,
        )

        segments = {
            str(id_): _pixels(s)
            for id_, s in zip(self.mask_id_to_idx, self.get_mask_list(), strict=True)
        }
        drawn = mask_overlay(
            self.image, segments, border_width=border_width, labels=show_legends, show=show
        )
        return None if show else drawn

    @property
    def _shape(self) -> tuple[int, int]:
        width, height = self.image.size
        return height, width


def _check_shape(what: str, mask: Tensor, shape: tuple[int, int]) -> None:
    if tuple(mask.shape) != shape:
        raise InvalidInput(what, f"of shape {tuple(mask.shape)}", f"the image's, {shape}")


def _pixels(segment: Tensor) -> Pixels:
    return segment.bool().cpu().numpy()


def _painted(image: Image, pixels: Pixels, colour: tuple[int, int, int]) -> Image:
    """Returns a copy of the image with some pixels in a colour."""
    from PIL import Image as images  # noqa: N813, PLC0415 - who has an image has Pillow

    painted = image.convert("RGB") if image.mode in {"P", "PA"} else image.copy()
    paint = images.new("RGB", painted.size, colour).convert(painted.mode)
    painted.paste(paint, None, images.fromarray(pixels.astype(np.uint8) * 255))
    return painted
