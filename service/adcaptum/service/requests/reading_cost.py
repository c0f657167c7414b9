"""Upper bounds of the cost of reading a request, from lengths, counts and headers of images.

The estimate decodes nothing. The seconds are those of one slow core: they decide where a request is
read, and are no forecast for callers (docs/decisions/0061).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models import images
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.image_sizes import ImageSize, size_of
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests.questions.question import Question, has_tensors
from adcaptum.service.wire import tensors
from adcaptum.service.wire.base64_text import from_base64
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, tensor_pb2

DATA_SECONDS: Final = 3e-9
"""Copying and checking a byte of numbers."""

PIXEL_SECONDS: Final = 1e-7
"""Decoding a pixel, or bringing one to the model's size."""

TEXT_SECONDS: Final = 2e-6
"""Tokenising a byte."""

VALUES_SECONDS: Final = 2e-7
"""Walking over a byte of `values`; a number has 11, a boolean 4 (docs/decisions/0122)."""

VALUES_BYTES: Final = 16
"""The memory of what is made of a byte of `values`, in bytes."""

SORT_SECONDS: Final = 1e-7
"""Finding the features of a mask, for each byte of it."""

PLAN_SECONDS: Final = 1e-4
"""Counting the rows that a method takes, for one example or for several together."""

TARGET_SECONDS: Final = 5e-6
"""Recording one target."""

ITEM_SECONDS: Final = 5e-5
"""Starting with another image or text."""

MULTIPLICATION_SECONDS: Final = 2e-10
"""One multiplication of many, as for images out of focus."""

FEW_BYTES: Final = 1 << 16
"""The size of a request from which on a preset's tensors do not count."""

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
        if any(each.HasField("values") for each in request.inputs):
            found += _of_values(nbytes)
        for index, each in enumerate(request.inputs):
            found += _of_tensor(each, model.loaded, f"inputs[{index}]", nbytes, pixels)
        _check_pixels(found, pixels)
        return found

    @staticmethod
    def of_explanation(
        request: pb.ExplainRequest,
        model: ServedModel,
        question: Question,
        nbytes: int,
        pixels: int,
    ) -> "ReadingCost":
        """Returns the cost of reading an explanation's request.

        Args:
            request: The request.
            model: The model that it is for.
            question: Its question, resolved.
            nbytes: The request's serialised size.
            pixels: The most pixels of an encoded image.

        Raises:
            InvalidRequest: It has too many pixels.
        """
        spec = question.spec
        if nbytes < FEW_BYTES and has_tensors(spec):
            # A preset's tensors are not among the request's bytes.
            nbytes = max(nbytes, spec.ByteSize())
        found = ReadingCost(nbytes * DATA_SECONDS, nbytes) + _of_plan(request, model, question)
        if any(each.HasField("values") for each in (*request.inputs, *_beside(spec))):
            found += _of_values(nbytes)
        masks = (*spec.feature_masks, *(spec.site.feature_masks if question.layer else ()))
        if masks:
            # Masks become numbers of 8 bytes, which are sorted where features have names.
            names = any(each.names for each in masks)
            found += ReadingCost(nbytes * (SORT_SECONDS if names else 0.0), 8 * nbytes)
        for index, tensor in enumerate(request.inputs):
            found += _of_tensor(tensor, model.loaded, f"inputs[{index}]", nbytes, pixels)
        for index, baseline in enumerate(spec.baselines):
            kind = baseline.WhichOneof("kind")
            field = f"spec.baselines[{index}].{kind}"
            if kind in ("tensor", "distribution"):
                tensor = baseline.tensor if kind == "tensor" else baseline.distribution
                found += _of_tensor(tensor, model.loaded, field, nbytes, pixels)
            elif kind == "background":
                found += _of_background(baseline.background.count, model.loaded)
            elif kind == "blur":
                found += _of_blur(found.nbytes, request.inputs, model.loaded)
        _check_pixels(found, pixels)
        return found


def has_images(
    request: pb.PredictRequest | pb.ExplainRequest,
    model: LoadedModel,
    spec: explain_spec_pb2.ExplainSpec | None = None,
) -> bool:
    """Returns True if the cost depends on the headers of images in the request.

    Args:
        request: The request.
        model: The model that it is for.
        spec: The question of an explanation.
    """
    if next(_images(model), None) is None:
        return False
    if any(map(_encoded, request.inputs)):
        return True
    return spec is not None and any(
        _encoded(each.tensor) or _encoded(each.distribution) for each in spec.baselines
    )


def is_plain(tensor: tensor_pb2.Tensor) -> bool:
    """Returns True if a tensor is of numbers as the model takes them, in `data`."""
    return tensor.datatype not in ("BYTES", "UINT8") and not tensor.HasField("values")


def _encoded(tensor: tensor_pb2.Tensor) -> bool:
    return tensor.datatype == "BYTES" or tensors.has_texts(tensor)


def _of_plan(request: pb.ExplainRequest, model: ServedModel, question: Question) -> ReadingCost:
    """Returns the cost of choosing targets and of counting the rows of methods."""
    examples = 1
    if request.inputs and (
        model.loaded.text is not None or any(_of_each(each) for each in question.spec.baselines)
    ):
        # Each text is explained by itself; so may be examples with baselines of their own.
        tensor = request.inputs[0]
        given = tensor.shape[0] if tensor.shape else len(tensor.values.values)
        examples = min(max(1, given), model.loaded.declaration.max_examples)
    seconds = len(question.methods) * examples * PLAN_SECONDS
    return ReadingCost(seconds + question.targets.count * TARGET_SECONDS)


def _of_each(baseline: explain_spec_pb2.Baseline) -> bool:
    return baseline.WhichOneof("kind") in ("tensor", "blur")


def _beside(spec: explain_spec_pb2.ExplainSpec) -> Iterator[tensor_pb2.Tensor]:
    """Yields the tensors of a question."""
    masks, baselines = [*spec.feature_masks], [*spec.baselines]
    if spec.HasField("site"):
        masks += spec.site.feature_masks
        baselines += spec.site.baselines
    for mask in masks:
        yield mask.tensor
    for baseline in baselines:
        yield baseline.tensor
        yield baseline.distribution


def _of_values(nbytes: int) -> ReadingCost:
    return ReadingCost(nbytes * VALUES_SECONDS, nbytes * VALUES_BYTES)


def _check_pixels(found: ReadingCost, pixels: int) -> None:
    most = IMAGES_TOGETHER * pixels
    if found.pixels > most:
        raise InvalidRequest(
            "inputs", f"images of {found.pixels} pixels together; at most {most} are allowed"
        )


def _of_background(count: int, model: LoadedModel) -> ReadingCost:
    rows = max((each[0].nbytes for each in model.backgrounds.values()), default=0)
    most = max(map(len, model.backgrounds.values()), default=0)
    nbytes = min(count, most) * rows
    # A permutation of all rows, of which some are copied.
    return ReadingCost(nbytes * DATA_SECONDS + most * PIXEL_SECONDS, nbytes)


def _of_blur(nbytes: int, messages: Sequence[tensor_pb2.Tensor], model: LoadedModel) -> ReadingCost:
    # Each row of pixels and each column is multiplied with a matrix of its length. What was found
    # so far has at least 4 bytes an element, or 2.
    longest = max([max([*_sides(each), 0]) for each in messages], default=0)
    for declared in _images(model):
        longest = max(longest, *declared.shape[2:], images.MOST_NARROW * (declared.resize or 0))
    elements = nbytes / 2
    return ReadingCost(elements * 2 * longest * MULTIPLICATION_SECONDS, nbytes)


def _sides(message: tensor_pb2.Tensor) -> Sequence[int]:
    """Returns the lengths of a tensor's dimensions after the batch."""
    return (message.shape or tensors.nested_lengths(message))[1:]


def _of_tensor(
    message: tensor_pb2.Tensor, model: LoadedModel, field: str, nbytes: int, pixels: int
) -> ReadingCost:
    declared = next(_images(model), None)
    typed = message.HasField("values")
    found = ReadingCost()
    # A text beside images is found by its name.
    text = model.declaration.text
    is_text = text is not None and message.name in ("", model.declaration.inputs[text].name)
    if declared is not None and message.datatype == "UINT8":
        # As values, its shape is not known: an image with a pixel for each byte.
        shape = (1, 1, nbytes, 1) if typed else message.shape
        if len(shape) == RANK:
            found += _of_pixels(shape, nbytes, declared)
    elif _encoded(message) and (is_text or (text is not None and declared is None)):
        found += ReadingCost(nbytes * TEXT_SECONDS + ITEM_SECONDS, 64 * nbytes)
    elif _encoded(message) and declared is not None:
        # Data are touched for encoded images only: to look at them costs a copy.
        place = f"{field}.{'values' if typed else 'data'}"
        found += _of_images(_items(message), declared, place, pixels)
    return found


def _items(message: tensor_pb2.Tensor) -> Iterator[bytes]:
    """Yields the encoded images of a tensor, as far as they can be read."""
    if not message.HasField("values"):
        return tensors.split(message.data)
    texts = (each.string_value for each in message.values.values)
    return (from_base64(text) or b"" for text in texts)


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
        images.check_size(size, f"{field}[{index}]", pixels)
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
