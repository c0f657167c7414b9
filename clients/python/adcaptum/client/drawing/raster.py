"""Pictures as arrays: conversion to RGB, resizing, PNG encoding."""

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def as_rgb(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Convert an image of a common layout and range to RGB bytes.

    Args:
        image: Of shape (height, width), (height, width, 1 or 3 or 4) or (1 or 3, height, width);
            integers from 0 to 255, or numbers from 0 to 1; others are stretched to that range.

    Returns:
        Of shape (height, width, 3).

    Raises:
        ValueError: It has another shape.
    """
    if image.ndim == 2:
        channels_last = image[..., np.newaxis]
    elif image.ndim == 3 and image.shape[-1] in {1, 3, 4}:
        channels_last = image
    elif image.ndim == 3 and image.shape[0] in {1, 3}:
        channels_last = np.moveaxis(image, 0, -1)
    else:
        raise ValueError(f"an array of shape {image.shape} is not an image")
    colours = channels_last[..., :3] if channels_last.shape[-1] > 1 else channels_last
    return np.broadcast_to(_as_bytes(colours), (*colours.shape[:2], 3))


def is_image(array: npt.NDArray[Any]) -> bool:
    """True if an example has the shape of a channels-first image."""
    return array.ndim == 3 and array.shape[0] in {1, 3} and min(array.shape[1:]) > 3


def enlarge(values: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.float64]:
    """Enlarge a map by linear interpolation between the centres of its cells.

    Args:
        values: Of shape (rows, columns).
        height: The new number of rows.
        width: The new number of columns.
    """
    rows = _interpolate(np.asarray(values, dtype=np.float64), height)
    return _interpolate(rows.T, width).T


def shrink(values: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.float64]:
    """Shrink a map by averages over blocks.

    Args:
        values: Of shape (rows, columns, ...).
        height: The new number of rows, at most the present one.
        width: The new number of columns, at most the present one.
    """
    return _average(_average(np.asarray(values, dtype=np.float64), height, 0), width, 1)


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Write an image of shape (height, width, 3) as a PNG file."""
    height, width, _ = image.shape
    # Each row begins with its filter: none.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _as_bytes(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image
    numbers = np.nan_to_num(image.astype(np.float64))
    low, high = float(numbers.min(initial=0)), float(numbers.max(initial=0))
    if np.issubdtype(image.dtype, np.integer) and low >= 0 and high <= 255:
        return numbers.astype(np.uint8)
    if low < 0 or high > 1:
        numbers = (numbers - low) / (high - low)
    return np.rint(numbers * 255).astype(np.uint8)


def _interpolate(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    old = len(values)
    places = np.clip((np.arange(count) + 0.5) * old / count - 0.5, 0, old - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, old - 1)
    share = (places - below)[:, np.newaxis]
    return values[below] * (1 - share) + values[above] * share


def _average(values: npt.NDArray[np.float64], count: int, axis: int) -> npt.NDArray[np.float64]:
    edges = np.arange(count) * values.shape[axis] // count
    sizes = np.diff(np.append(edges, values.shape[axis]))
    shape = [1] * values.ndim
    shape[axis] = count
    return np.add.reduceat(values, edges, axis=axis) / sizes.reshape(shape)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
