"""The conversion of images from requests to the tensor that a network takes."""

import io
import math
import struct
from collections.abc import Callable
from typing import Final

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.image_sizes import ImageSize, size_of
from adcaptum.service.wire.tensors import Bytes, shown

FORMATS: Final = ("PNG", "JPEG")
MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
MOST_NARROW: Final = 32
"""The longest side after resizing, in shorter sides."""

BAND_PIXELS: Final = 1 << 18
"""The pixels that are converted at a time, which takes a millisecond."""


def from_bytes(
    images: Bytes,
    declared: InputDeclaration,
    field: str,
    max_pixels: int,
    check: Callable[[], None] = lambda: None,
    *,
    contents: str = "data",
) -> Tensor:
    """Decodes PNG and JPEG images, `(rows, channels, height, width)` in 0..1.

    Args:
        images: The encoded images.
        declared: The input that they are for.
        field: Where they stand in the request, for errors.
        max_pixels: The most pixels of an image.
        check: Called before each image; raises if nobody waits for the images any longer.
        contents: The tensor's field that has them, for errors.

    Raises:
        InvalidRequest: One is neither, is broken, or has more than `max_pixels` pixels.
    """
    if len(images.shape) != 1:
        raise InvalidRequest(f"{field}.shape", f"{shown(images.shape)} is not [batch]")
    rows: list[Tensor] = []
    for index, data in enumerate(images.items):
        check()
        where = f"{field}.{contents}[{index}]"
        rows.append(_fit(_decode(data, declared, where, max_pixels), declared, where))
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
            f"{shown(pixels.shape)} is not [batch, height, width, {channels}] of UINT8 pixels",
        )
    return _fit(pixels.permute(0, 3, 1, 2).float() / 255, declared, field)


def check_size(size: ImageSize, field: str, max_pixels: int) -> None:
    """Raises `InvalidRequest` if an image has too many pixels."""
    if size.pixels > max_pixels:
        raise InvalidRequest(
            field, f"{size.width} x {size.height} pixels; at most {max_pixels} are allowed"
        )


def _decode(data: bytes, declared: InputDeclaration, field: str, max_pixels: int) -> Tensor:
    size = size_of(data)
    if size is None:
        raise InvalidRequest(field, "not a readable PNG or JPEG image")
    check_size(size, field, max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # Checks PIL's size too: PIL may read the header in another way.
            check_size(ImageSize(*image.size), field, max_pixels)
            ImageOps.exif_transpose(image, in_place=True)
            pixels = _pixels(image, MODES.get(declared.shape[1], "RGB"))
    except InvalidRequest:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidRequest(field, "an image of too many pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error) as error:
        raise InvalidRequest(field, "not a readable PNG or JPEG image") from error
    return pixels.permute(2, 0, 1).unsqueeze(0).float().div_(255)


def _pixels(image: Image.Image, mode: str) -> Tensor:
    """Returns an image as bytes, `(height, width, channels)`.

    In bands: PIL converts without letting other threads run, and takes another copy for it.
    """
    width, height = image.size
    pixels = torch.empty(height, width, len(mode), dtype=torch.uint8)
    rows = max(1, BAND_PIXELS // width)
    image.load()
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        band = image.crop((0, top, width, bottom)).convert(mode).tobytes()
        own = torch.frombuffer(bytearray(band), dtype=torch.uint8)
        pixels[top:bottom] = own.view(bottom - top, width, len(mode))
    return pixels


def resized(size: ImageSize, declared: InputDeclaration) -> ImageSize:
    """Returns the size that an image is brought to: its shorter side has the declared length."""
    if declared.resize is None or not size.pixels:
        return size
    scale = declared.resize / min(size)
    width, height = (max(1, round(side * scale)) for side in size)
    return ImageSize(width, height)


def _fit(images: Tensor, declared: InputDeclaration, field: str) -> Tensor:
    """Brings the shorter side to the declared length and cuts the centre out."""
    height, width = images.shape[2:]
    if declared.resize is not None:
        size = resized(ImageSize(width, height), declared)
        if max(size) > MOST_NARROW * declared.resize:
            raise InvalidRequest(field, f"{height} x {width} pixels are too narrow to resize")
        if size != (width, height):
            images = functional.interpolate(
                images,
                (size.height, size.width),
                mode="bicubic",
                antialias=True,
                align_corners=False,
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
