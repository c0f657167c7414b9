"""Inputs of a request: reading, checking, and conversion to the forward's arguments."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Final, Self

from torch import Tensor

from adcaptum.engine.vocabulary.arguments import NO_ARGUMENTS, Arguments, PerExample
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.models import images
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.texts import TokenisedTexts
from adcaptum.service.nearest import did_you_mean, shortened
from adcaptum.service.requests.reading import Reading
from adcaptum.service.wire import tensors
from adcaptum.service.wire.tensors import Bytes
from adcaptum.v1 import tensor_pb2

MOST_TENSORS: Final = 64
"""The most inputs, baselines or masks of a request."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The inputs of a request, as the model sees them.

    Attributes:
        tensors: The explained ones, each `(examples, *features)`.
        texts: The tokens of a text input, whose ids are one of `tensors`; None without one.
        as_values: Whether one came as `values`; the reply's tensors then do, too.
        text_place: The place of the ids in `tensors`.
        text_field: The place of the text in the request.
    """

    tensors: tuple[Tensor, ...]
    texts: TokenisedTexts | None = None
    as_values: bool = False
    text_place: int = 0
    text_field: str = "inputs[0]"

    @property
    def count(self) -> int:
        """The number of examples."""
        return self.tensors[0].size(0)

    def of_example(self, index: int) -> Self:
        """Returns one example alone, its text without the padding that longer ones caused."""
        tensors = [each[index : index + 1] for each in self.tensors]
        if self.texts is None:
            return replace(self, tensors=tuple(tensors))
        texts = self.texts.example(index)
        tensors[self.text_place] = texts.ids
        return replace(self, tensors=tuple(tensors), texts=texts)

    @property
    def arguments(self) -> Arguments:
        """The further arguments of the forward method."""
        if self.texts is None:
            return NO_ARGUMENTS
        return Arguments((PerExample(self.texts.mask),))


def read(messages: Sequence[tensor_pb2.Tensor], model: LoadedModel, reading: Reading) -> Inputs:
    """Reads and checks the inputs of a request.

    Raises:
        InvalidRequest: One is missing, unknown, given twice, or not of the model's form.
    """
    declared = model.declaration.inputs
    if len(messages) == len(declared) == 1:
        row = _plain_row(messages[0], declared[0], model)
        if row is not None:
            return Inputs((row,))
    check_number(messages, "inputs")
    placed = place([message.name for message in messages], declared, "inputs", "name")
    missing = [each.name for each, index in zip(declared, placed, strict=True) if index is None]
    if missing:
        raise InvalidRequest("inputs", f"missing: {', '.join(missing)}")
    as_values = any(message.HasField("values") for message in messages)
    rows, texts, text_field = [], None, ""
    for each, index in zip(declared, placed, strict=True):
        field = f"inputs[{index}]"
        message = messages[index or 0]
        if each.kind == "text":
            texts, text_field = _read_texts(message, each, model, field, reading), field
            rows.append(texts.ids)
            continue
        _check_count(message, model, field)
        read_rows = read_one(message, each, field, reading)
        check_ids(read_rows, each, model, field)
        rows.append(tensors.to_device(read_rows, model.device))
    if any(len(each) != len(rows[0]) for each in rows):
        counts = {each.name: len(row) for each, row in zip(declared, rows, strict=True)}
        raise InvalidRequest("inputs", f"different numbers of examples: {counts}")
    if texts is None:
        return Inputs(tuple(rows), as_values=as_values)
    return Inputs(tuple(rows), texts, as_values, model.declaration.text or 0, text_field)


def _plain_row(
    message: tensor_pb2.Tensor, declared: InputDeclaration, model: LoadedModel
) -> Tensor | None:
    """Reads an input of a few numbers that are as declared; None for all else, right or wrong."""
    shape = message.shape
    if (
        not message.datatype == declared.datatype == "FP32"
        or message.name not in ("", declared.name)
        or model.device.type != "cpu"
        or declared.embedding
        or not 0 < len(shape) == len(declared.shape)
        or not 0 < shape[0] <= model.declaration.max_examples
        or any(own != length for own, length in zip(shape[1:], declared.shape[1:], strict=True))
    ):
        return None
    return tensors.few_numbers(message.data, tuple(shape))


def _read_texts(
    message: tensor_pb2.Tensor,
    declared: InputDeclaration,
    model: LoadedModel,
    field: str,
    reading: Reading,
) -> TokenisedTexts:
    tensors.require_contents(message, field)
    if message.datatype or not message.HasField("values"):
        tensors.check_datatype(message.datatype, field)
        if message.datatype != "BYTES":
            raise InvalidRequest(
                f"{field}.datatype", f"{message.datatype}; a text is BYTES of UTF-8"
            )
    assert model.text is not None, "the model takes texts"
    _check_count(message, model, field)
    values = tensors.decode(message, field, datatype="BYTES")
    if not isinstance(values, Bytes):
        raise InvalidRequest(f"{field}.values", "must be texts")
    nbytes = sum(map(len, values.items))
    if nbytes > reading.max_text_bytes:
        place = f"{field}.{message.WhichOneof('contents')}"
        raise InvalidRequest(
            place, f"texts of {nbytes} bytes; at most {reading.max_text_bytes} are allowed"
        )
    read_texts = model.text.read(values, field)
    # A tokenizer may know more words than the embedding has rows; a device would be lost by one.
    check_ids(read_texts.ids, declared, model, field)
    return read_texts.to(model.device)


def read_one(
    message: tensor_pb2.Tensor, declared: InputDeclaration, field: str, reading: Reading
) -> Tensor:
    """Reads one input that is not a text.

    Raises:
        InvalidRequest: It is not of the model's form.
    """
    tensors.require_contents(message, field)
    # Datatype and shape are checked before the data are decoded.
    typed = message.HasField("values")
    own = declared.datatype if typed and not message.datatype else message.datatype
    tensors.check_datatype(own, field)
    if own != declared.datatype and (declared.kind != "image" or own not in ("UINT8", "BYTES")):
        allowed = {"image": f"UINT8, BYTES or {declared.datatype}"}.get(
            declared.kind, declared.datatype
        )
        raise InvalidRequest(f"{field}.datatype", f"{own}; must be {allowed}")
    if own == declared.datatype and not typed:
        tensors.require_shape(message.shape, declared.shape, field)
    image = declared.kind == "image"
    values = tensors.decode(message, field, datatype=declared.datatype, encoded=image)
    if isinstance(values, Bytes):
        if not image:
            raise InvalidRequest(f"{field}.values", f"texts; must be numbers, {declared.datatype}")
        return images.from_bytes(
            values,
            declared,
            field,
            reading.max_image_pixels,
            reading.check,
            contents="values" if typed else "data",
        )
    if own != declared.datatype:
        return images.from_pixels(values, declared, field)
    if typed:
        tensors.require_shape(values.shape, declared.shape, field)
    return values


def check_ids(values: Tensor, declared: InputDeclaration, model: LoadedModel, field: str) -> None:
    """Raises `InvalidRequest` if whole numbers are not rows of the embedding that they index."""
    if not declared.embedding or values.is_floating_point():
        return
    embedding = model.module.get_submodule(declared.embedding)
    count = getattr(embedding, "num_embeddings", None)
    if not isinstance(count, int):
        return
    least, most = (int(each) for each in values.aminmax())
    if least < 0 or most >= count:
        wrong = least if least < 0 else most
        index = int((values.flatten() == wrong).nonzero()[0])
        raise InvalidRequest(
            field,
            f"{wrong} at element {index}; must be from 0 to {count - 1}, the numbers of the rows "
            f"of {declared.embedding}",
        )


def check_number(given: Sized, field: str) -> None:
    """Raises `InvalidRequest` if a request has more tensors of a kind than any model takes."""
    if len(given) > MOST_TENSORS:
        raise InvalidRequest(
            field,
            f"{len(given)} of them; at most {MOST_TENSORS} are allowed",
            reason=Reason.REQUEST_TOO_LARGE,
        )


def place(
    names: Sequence[str], declared: Sequence[InputDeclaration], field: str, part: str
) -> list[int | None]:
    """Returns for each input the index of its name; None for inputs without one.

    Args:
        names: The names.
        declared: The inputs.
        field: The path of the list with the names in the request.
        part: The field of its entries that has the name.

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
                f"{field}[{index}].{part}", f"the model has no input {shortened(name)}. {hint}"
            )
        if name in placed:
            raise InvalidRequest(f"{field}[{index}].{part}", f"a second one for input {name!r}")
        placed[name] = index
    return [placed.get(name) for name in known]


def _check_count(message: tensor_pb2.Tensor, model: LoadedModel, field: str) -> None:
    most = model.declaration.max_examples
    shape = message.shape
    if len(shape) > 0 and shape[0] > most:
        raise InvalidRequest(f"{field}.shape", f"{shape[0]} examples; at most {most} are allowed")
    if not len(shape) and len(message.values.values) > most:
        count = len(message.values.values)
        raise InvalidRequest(f"{field}.values", f"{count} examples; at most {most} are allowed")
