"""The inputs of a request -> what the forward method takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from adcaptum.engine.vocabulary.arguments import NO_ARGUMENTS, Arguments, PerExample
from adcaptum.service.errors import InvalidRequest
from adcaptum.service.models import images
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.texts import TokenisedTexts
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.wire import tensors
from adcaptum.service.wire.tensors import Bytes
from adcaptum.v1 import tensor_pb2


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The inputs of a request, as the model sees them.

    Attributes:
        tensors: The explained ones, each `(examples, *features)`.
        texts: For a text input, its tokens; `tensors` are then their ids.
    """

    tensors: tuple[Tensor, ...]
    texts: TokenisedTexts | None = None

    @property
    def count(self) -> int:
        """How many examples there are."""
        return len(self.tensors[0])

    @property
    def arguments(self) -> Arguments:
        """What the forward method takes after them."""
        if self.texts is None:
            return NO_ARGUMENTS
        return Arguments((PerExample(self.texts.mask),))


def is_slow(messages: Sequence[tensor_pb2.Tensor]) -> bool:
    """Whether reading the inputs takes so long that the event loop should not do it."""
    return any(each.datatype in ("BYTES", "UINT8") and len(each.data) > 4096 for each in messages)


def read(
    messages: Sequence[tensor_pb2.Tensor], model: LoadedModel, max_image_pixels: int
) -> Inputs:
    """Reads and checks the inputs of a request.

    Raises:
        InvalidRequest: One is missing, unknown, given twice, or not as the model takes it.
    """
    declared = model.declaration.inputs
    placed = place([message.name for message in messages], declared, "inputs")
    missing = [each.name for each, index in zip(declared, placed, strict=True) if index is None]
    if missing:
        raise InvalidRequest("inputs", f"missing: {', '.join(missing)}")
    if model.text is not None:
        values = tensors.decode(messages[0], "inputs[0]")
        if not isinstance(values, Bytes):
            raise InvalidRequest(
                "inputs[0].datatype", f"{messages[0].datatype}; a text is BYTES of UTF-8"
            )
        _check_count(values.shape, model, "inputs[0]")
        read_texts = model.text.read(values, "inputs[0]").to(model.device)
        return Inputs((read_texts.ids,), read_texts)
    rows = []
    for each, index in zip(declared, placed, strict=True):
        field = f"inputs[{index}]"
        message = messages[index or 0]
        _check_count(message.shape, model, field)
        read_rows = read_one(message, each, field, max_image_pixels)
        rows.append(tensors.to_device(read_rows, model.device))
    if any(len(each) != len(rows[0]) for each in rows):
        counts = {each.name: len(row) for each, row in zip(declared, rows, strict=True)}
        raise InvalidRequest("inputs", f"different numbers of examples: {counts}")
    return Inputs(tuple(rows))


def read_one(
    message: tensor_pb2.Tensor, declared: InputDeclaration, field: str, max_image_pixels: int
) -> Tensor:
    """Reads one input that is not a text.

    Raises:
        InvalidRequest: It is not as the model takes it.
    """
    values = tensors.decode(message, field)
    if declared.kind == "image":
        if isinstance(values, Bytes):
            return images.from_bytes(values, declared, field, max_image_pixels)
        if message.datatype == "UINT8" and declared.datatype != "UINT8":
            return images.from_pixels(values, declared, field)
    if isinstance(values, Bytes) or message.datatype != declared.datatype:
        allowed = {"image": f"UINT8, BYTES or {declared.datatype}"}.get(
            declared.kind, declared.datatype
        )
        raise InvalidRequest(f"{field}.datatype", f"{message.datatype}; must be {allowed}")
    tensors.require_shape(values.shape, declared.shape, field)
    return values


def place(
    names: Sequence[str], declared: Sequence[InputDeclaration], field: str
) -> list[int | None]:
    """Returns which of the names is each input's.

    Raises:
        InvalidRequest: One is of an input that does not exist, or is given twice.
    """
    if len(declared) == 1 and len(names) == 1 and names[0] in ("", declared[0].name):
        return [0]
    placed: dict[str, int] = {}
    known = [each.name for each in declared]
    for index, given in enumerate(names):
        name = given or (known[0] if len(known) == 1 else "")
        if name not in known:
            hint = did_you_mean(name, known)
            raise InvalidRequest(
                f"{field}[{index}]", f"the model has no input {shortened(name)}. {hint}"
            )
        if name in placed:
            raise InvalidRequest(f"{field}[{index}]", f"a second one for input {name!r}")
        placed[name] = index
    return [placed.get(name) for name in known]


def _check_count(shape: Sequence[int], model: LoadedModel, field: str) -> None:
    most = model.declaration.max_examples
    if len(shape) > 0 and shape[0] > most:
        raise InvalidRequest(f"{field}.shape", f"{shape[0]} examples; at most {most} are allowed")
