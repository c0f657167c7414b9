"""Pictures as callers have them -> what a network takes."""

import io
import math
from typing import Final

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.wire.tensors import Bytes

FORMATS: Final = ("PNG", "JPEG")
MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}


def from_bytes(images: Bytes, declared: InputDeclaration, field: str, max_pixels: int) -> Tensor:
    """Decodes PNG and JPEG images, `(rows, channels, height, width)` in 0..1.

    Raises:
        InvalidRequest: One is neither, is broken, or has more than `max_pixels` pixels.
    """
    if len(images.shape) != 1:
        raise InvalidRequest(f"{field}.shape", f"{list(images.shape)} is not [batch]")
    rows = [
        _decode(data, declared, f"{field}.data[{index}]", max_pixels)
        for index, data in enumerate(images.items)
    ]
    return torch.cat(_of_one_size(rows, field))


def from_pixels(pixels: Tensor, declared: InputDeclaration, field: str) -> Tensor:
    """Resizes and crops pixels 0..255, `(rows, height, width, channels)` of UINT8.

    Raises:
        InvalidRequest: The channels are not the model's.
    """
    channels = declared.shape[1]
    if pixels.ndim != 4 or channels not in (-1, pixels.shape[3]):
        raise InvalidRequest(
            f"{field}.shape",
            f"{list(pixels.shape)} is not [batch, height, width, {channels}] of UINT8 pixels",
        )
    return _fit(pixels.permute(0, 3, 1, 2).float() / 255, declared, field)


def _decode(data: bytes, declared: InputDeclaration, field: str, max_pixels: int) -> Tensor:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # Only the header has been read; a bomb would explode in the next line.
            if image.width * image.height > max_pixels:
                size = f"{image.width} x {image.height}"
                raise InvalidRequest(field, f"{size} pixels; at most {max_pixels} are allowed")
            upright = ImageOps.exif_transpose(image).convert(MODES.get(declared.shape[1], "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InvalidRequest):
            raise
        raise InvalidRequest(field, "not a readable PNG or JPEG image") from error
    pixels = torch.frombuffer(bytearray(upright.tobytes()), dtype=torch.uint8)
    shaped = pixels.view(1, upright.height, upright.width, -1).permute(0, 3, 1, 2)
    return _fit(shaped.float() / 255, declared, field)


def _fit(images: Tensor, declared: InputDeclaration, field: str) -> Tensor:
    """Brings the shorter side to the declared length and cuts the centre out."""
    height, width = images.shape[2:]
    if declared.resize is not None:
        scale = declared.resize / min(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        if max(size) > 32 * declared.resize:
            raise InvalidRequest(field, f"{height} x {width} pixels are too narrow to resize")
        if size != (height, width):
            images = functional.interpolate(
                images, size, mode="bicubic", antialias=True, align_corners=False
            ).clamp(0, 1)
    return _centre(images, declared.shape[2], declared.shape[3], field)


def _centre(images: Tensor, height: int, width: int, field: str) -> Tensor:
    have_height, have_width = images.shape[2:]
    want_height = have_height if height == -1 else height
    want_width = have_width if width == -1 else width
    if have_height < want_height or have_width < want_width:
        raise InvalidRequest(
            field, f"{have_height} x {have_width} pixels; the model takes {height} x {width}"
        )
    top = math.floor((have_height - want_height) / 2)
    left = math.floor((have_width - want_width) / 2)
    return images[:, :, top : top + want_height, left : left + want_width].contiguous()


def _of_one_size(rows: list[Tensor], field: str) -> list[Tensor]:
    sizes = {tuple(row.shape) for row in rows}
    if len(sizes) > 1:
        raise InvalidRequest(field, f"images of different sizes: {sorted(sizes)}")
    return rows
