"""Upper bounds of the cost of reading a request, from lengths, counts and headers of images.

The estimate decodes nothing. The seconds are those of one slow core: they decide where a request is
read, and are no forecast for callers (docs/decisions/0061).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models import images
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.image_sizes import ImageSize, size_of
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.targets import MOST_TARGETS
from adcaptum.service.wire import tensors
from adcaptum.v1 import explanation_service_pb2 as pb, tensor_pb2

DATA_SECONDS: Final = 3e-9
"""Copying and checking a byte of numbers."""

PIXEL_SECONDS: Final = 1e-7
"""Decoding a pixel, or bringing one to the model's size."""

TEXT_SECONDS: Final = 2e-6
"""Tokenising a byte."""

PLAN_SECONDS: Final = 1e-4
"""Counting the rows that a method takes, for one example or for several together."""

TARGET_SECONDS: Final = 5e-6
"""Recording one target."""

ITEM_SECONDS: Final = 5e-5
"""Starting with another image or text."""

MULTIPLICATION_SECONDS: Final = 2e-10
"""One multiplication of many, as for images out of focus."""

RANK: Final = 4
"""Dimensions of images as pixels: batch, height, width, channels."""

IMAGES_TOGETHER: Final = 2
"""The most pixels of all images of a request, as a multiple of the most of one image."""


@dataclass(frozen=True, slots=True)
class ReadingCost:
    """Upper bounds of the cost of reading a request.

    Attributes:
        seconds: The time of one core.
        nbytes: The memory of the parsed request.
        pixels: The pixels of all its encoded images.
    """

    seconds: float = 0.0
    nbytes: int = 0
    pixels: int = 0

    def __add__(self, other: "ReadingCost") -> "ReadingCost":
        return ReadingCost(
            self.seconds + other.seconds, self.nbytes + other.nbytes, self.pixels + other.pixels
        )

    @staticmethod
    def of_prediction(
        request: pb.PredictRequest, model: ServedModel, nbytes: int, pixels: int
    ) -> "ReadingCost":
        """Returns the cost of reading a prediction's request.

        Args:
            request: The request.
            model: The model that it is for.
            nbytes: Its serialised size.
            pixels: The most pixels of an encoded image.

        Raises:
            InvalidRequest: It has too many pixels.
        """
        found = ReadingCost(nbytes * DATA_SECONDS, nbytes)
        for index, each in enumerate(request.inputs):
            found += _of_tensor(each, model.loaded, f"inputs[{index}]", nbytes, pixels)
        _check_pixels(found, pixels)
        return found

    @staticmethod
    def of_explanation(
        request: pb.ExplainRequest, model: ServedModel, nbytes: int, pixels: int
    ) -> "ReadingCost":
        """Returns the cost of reading an explanation's request.

        Args:
            request: The request.
            model: The model that it is for.
            nbytes: Its serialised size.
            pixels: The most pixels of an encoded image.

        Raises:
            InvalidRequest: It has too many pixels.
        """
        # Masks become numbers of 8 bytes.
        of_masks = 8 * nbytes if request.feature_masks else 0
        found = ReadingCost(nbytes * DATA_SECONDS, nbytes + of_masks) + _of_plan(request, model)
        for index, each in enumerate(request.inputs):
            found += _of_tensor(each, model.loaded, f"inputs[{index}]", nbytes, pixels)
        for index, baseline in enumerate(request.baselines):
            field = f"baselines[{index}].tensor"
            kind = baseline.WhichOneof("kind")
            if kind == "tensor":
                found += _of_tensor(baseline.tensor, model.loaded, field, nbytes, pixels)
            elif kind == "samples":
                found += _of_samples(baseline.samples.count, model.loaded)
            elif kind == "blur":
                found += _of_blur(found.nbytes, request.inputs, model.loaded)
        _check_pixels(found, pixels)
        return found


def has_images(request: pb.PredictRequest | pb.ExplainRequest, model: LoadedModel) -> bool:
    """Returns True if the cost depends on the headers of images in the request."""
    if model.text is not None:
        return False
    if any(each.datatype == "BYTES" for each in request.inputs):
        return True
    return isinstance(request, pb.ExplainRequest) and any(
        each.tensor.datatype == "BYTES" for each in request.baselines
    )


def _of_plan(request: pb.ExplainRequest, model: ServedModel) -> ReadingCost:
    """Returns the cost of choosing targets and of counting the rows of methods."""
    texts = 1
    if model.loaded.text is not None and request.inputs and request.inputs[0].shape:
        # Each text is explained by itself.
        texts = min(max(1, request.inputs[0].shape[0]), model.loaded.declaration.max_examples)
    seconds = max(1, len(request.methods)) * texts * PLAN_SECONDS
    kind = request.target.WhichOneof("kind")
    if kind in ("all", "top_k"):
        targets = min(math.prod(model.checks.output_shape), MOST_TARGETS)
        seconds += targets * TARGET_SECONDS
    return ReadingCost(seconds)


def _check_pixels(found: ReadingCost, pixels: int) -> None:
    most = IMAGES_TOGETHER * pixels
    if found.pixels > most:
        raise InvalidRequest(
            "inputs", f"images of {found.pixels} pixels together; at most {most} are allowed"
        )


def _of_samples(count: int, model: LoadedModel) -> ReadingCost:
    rows = max((each[0].nbytes for each in model.backgrounds.values()), default=0)
    most = max(map(len, model.backgrounds.values()), default=0)
    nbytes = min(count, most) * rows
    # A permutation of all rows, of which some are copied.
    return ReadingCost(nbytes * DATA_SECONDS + most * PIXEL_SECONDS, nbytes)


def _of_blur(nbytes: int, messages: Sequence[tensor_pb2.Tensor], model: LoadedModel) -> ReadingCost:
    # Each row of pixels and each column is multiplied with a matrix of its length. What was found
    # so far has at least 4 bytes an element, or 2.
    longest = max(
        (max([side for side in each.shape[1:] if side > 0], default=0) for each in messages),
        default=0,
    )
    for declared in _images(model):
        longest = max(longest, *declared.shape[2:], images.MOST_NARROW * (declared.resize or 0))
    elements = nbytes / 2
    return ReadingCost(elements * 2 * longest * MULTIPLICATION_SECONDS, nbytes)


def _of_tensor(
    message: tensor_pb2.Tensor, model: LoadedModel, field: str, nbytes: int, pixels: int
) -> ReadingCost:
    # Data are touched for encoded images only: to look at them costs a copy.
    declared = next(_images(model), None)
    if message.datatype == "UINT8" and declared is not None and len(message.shape) == RANK:
        return _of_pixels(message.shape, nbytes, declared)
    if message.datatype != "BYTES":
        return ReadingCost()
    if model.text is not None:
        return ReadingCost(nbytes * TEXT_SECONDS + ITEM_SECONDS, 64 * nbytes)
    if declared is None:
        return ReadingCost()
    return _of_images(tensors.split(message.data), declared, field, pixels)


def _of_pixels(shape: Sequence[int], nbytes: int, declared: InputDeclaration) -> ReadingCost:
    _, height, width, channels = shape
    if min(shape) <= 0:
        return ReadingCost()
    # More rows than there are bytes for are refused when they are read.
    rows = nbytes // (height * width * channels)
    resized = images.resized(ImageSize(width, height), declared)
    kept = rows * _kept(resized, declared).pixels * channels
    # From a byte to four, and from one size to another.
    seconds = (nbytes + rows * resized.pixels * channels) * PIXEL_SECONDS
    return ReadingCost(seconds, 4 * (nbytes + kept))


def _of_images(
    encoded: Iterable[bytes], declared: InputDeclaration, field: str, pixels: int
) -> ReadingCost:
    found, most = ReadingCost(), IMAGES_TOGETHER * pixels
    for index, data in enumerate(encoded):
        size = size_of(data)
        if size is None:
            # It is refused when it is read; so are those behind it.
            break
        images.check_size(size, f"{field}.data[{index}]", pixels)
        resized = images.resized(size, declared)
        # Texts beside the pixels may be compressed a thousandfold; PIL reads up to 64 MB of them.
        beside = min(1000 * len(data), 64 << 20) * DATA_SECONDS
        found += ReadingCost(
            ITEM_SECONDS + (size.pixels + resized.pixels) * PIXEL_SECONDS + beside,
            _kept(resized, declared).pixels * 4 * max(declared.shape[1], 3),
            size.pixels,
        )
        if found.pixels > most:
            break
    return found


def _kept(resized: ImageSize, declared: InputDeclaration) -> ImageSize:
    height, width = declared.shape[2:]
    return ImageSize(
        resized.width if width == -1 else width, resized.height if height == -1 else height
    )


def _images(model: LoadedModel) -> Iterator[InputDeclaration]:
    return (each for each in model.declaration.inputs if each.kind == "image")
