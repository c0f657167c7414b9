"""The reader of a request's baselines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from adcaptum.engine.rows.randomness import generator
from adcaptum.service.errors import InvalidRequest, Reason
from adcaptum.service.models.declaration import InputDeclaration
from adcaptum.service.models.loading import LoadedModel
from adcaptum.service.models.repository.stored_tensors import Baseline
from adcaptum.service.nearest import shortened
from adcaptum.service.requests import inputs as request_inputs
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.questions.baselines import Baselines, compared
from adcaptum.service.requests.reading import Reading
from adcaptum.service.wire import tensors as wire
from adcaptum.service.wire.tensors import to_device
from adcaptum.v1 import explain_spec_pb2, tensor_pb2

OF_INPUTS: Final = "spec.baselines"
OF_LAYER: Final = "spec.site.baselines"

STREAM: Final = 0xBA5E
"""The stream of background draws, apart from those of methods with the same seed."""


@dataclass(frozen=True, slots=True, eq=False)
class BaselineReader:
    """Reads the baselines of one request.

    Attributes:
        model: The model that is explained.
        inputs: The request's inputs.
        seed: The seed of the draw of background rows.
        reading: The bounds of reading the request.
    """

    model: LoadedModel
    inputs: Inputs
    seed: int
    reading: Reading

    def read(self, messages: Sequence[explain_spec_pb2.Baseline]) -> Baselines:
        """Returns a baseline for each input.

        Raises:
            InvalidRequest: One is not of its input, or not one that the model has; or inputs have
                different numbers of rows.
        """
        declared = self.model.declaration.inputs
        request_inputs.check_number(messages, OF_INPUTS)
        if not messages:
            return Baselines(tuple(map(self._default, declared, self.inputs.tensors)))
        names = [message.input for message in messages]
        placed = request_inputs.place(names, declared, OF_INPUTS, "input")
        tensors = tuple(
            self._default(each, values)
            if index is None
            else self._read(messages[index], f"{OF_INPUTS}[{index}]", each, values)
            for each, index, values in zip(declared, placed, self.inputs.tensors, strict=True)
        )
        return compared(tensors, messages, placed, self.inputs.count, OF_INPUTS)

    def _default(self, declared: InputDeclaration, values: Tensor) -> Tensor:
        return self._named(declared, values, declared.default_baseline)

    def _named(self, declared: InputDeclaration, values: Tensor, name: str) -> Tensor:
        baseline: Baseline = self.model.baselines[declared.name][name]
        if declared.kind == "text" and self.inputs.texts is not None:
            # Tokens that the tokenizer added, [CLS] and the like, stay in the baseline.
            return torch.where(self.inputs.texts.special, values, int(baseline))
        if not isinstance(baseline, Tensor):
            return torch.full_like(values[:1], baseline)
        _check_features(baseline, values, OF_INPUTS)
        return baseline

    def _read(
        self,
        message: explain_spec_pb2.Baseline,
        field: str,
        declared: InputDeclaration,
        values: Tensor,
    ) -> Tensor:
        kind = message.WhichOneof("kind")
        if kind is None:
            raise InvalidRequest(field, "without a reference; must have one")
        if kind == "named":
            known = self.model.baselines[declared.name]
            if message.named not in known:
                raise InvalidRequest.unknown(
                    f"{field}.named", message.named, known, Reason.BASELINE_UNKNOWN
                )
            return self._named(declared, values, message.named)
        if declared.kind == "text":
            allowed = ", ".join(self.model.baselines[declared.name])
            raise InvalidRequest(f"{field}.{kind}", f"texts have named baselines only: {allowed}")
        field = f"{field}.{kind}"
        match kind:
            case "constant":
                return self._constant(message.constant, field, declared, values)
            case "blur":
                return blurred(values, message.blur.sigma, declared, field, self.reading)
            case "background":
                return self._background(message.background.count, field, declared, values)
            case _:
                tensor = message.tensor if kind == "tensor" else message.distribution
                return self._tensor(tensor, field, declared, values)

    def _constant(
        self,
        constant: float,
        field: str,
        declared: InputDeclaration,
        values: Tensor,
    ) -> Tensor:
        _check_finite(constant, field)
        check_number_fits(constant, values.dtype, field)
        baseline = torch.full_like(values[:1], constant)
        # Every model has the baseline zero, even if its embedding uses the id 0 otherwise.
        if constant:
            request_inputs.check_ids(baseline[:1].flatten()[:1], declared, self.model, field)
        return baseline

    def _tensor(
        self, message: tensor_pb2.Tensor, field: str, declared: InputDeclaration, values: Tensor
    ) -> Tensor:
        message = _with_batch(message, len(declared.shape))
        read = request_inputs.read_one(message, declared, field, self.reading)
        _check_features(read, values, field)
        request_inputs.check_ids(read, declared, self.model, field)
        return to_device(read, values.device)

    def _background(
        self, count: int, field: str, declared: InputDeclaration, values: Tensor
    ) -> Tensor:
        rows = self.model.backgrounds.get(declared.name)
        if rows is None:
            raise InvalidRequest(
                field, f"the model declares no background set for {declared.name!r}"
            )
        if not 1 <= count <= len(rows):
            raise InvalidRequest(f"{field}.count", f"{count}; must be from 1 to {len(rows)}")
        _check_features(rows, values, field)
        source = generator(self.seed, STREAM, 0)
        drawn = torch.randperm(len(rows), generator=source)[:count]
        return rows[drawn.to(rows.device)]


def at_layer(messages: Sequence[explain_spec_pb2.Baseline], inputs: Inputs) -> Baselines | None:
    """Reads baselines in a layer's own space; None where there are none.

    They are checked against the layer's shape when the model runs.

    Raises:
        InvalidRequest: One is of a kind that only inputs have, names an input, or is not of
            floating-point numbers.
    """
    if not messages:
        return None
    request_inputs.check_number(messages, OF_LAYER)
    tensors = tuple(
        _at_layer(message, f"{OF_LAYER}[{index}]").to(inputs.tensors[0].device)
        for index, message in enumerate(messages)
    )
    return compared(tensors, messages, range(len(tensors)), inputs.count, OF_LAYER)


def _at_layer(message: explain_spec_pb2.Baseline, field: str) -> Tensor:
    if message.input:
        raise InvalidRequest(f"{field}.input", f"{shortened(message.input)}; must be empty")
    kind = message.WhichOneof("kind")
    if kind == "constant":
        _check_finite(message.constant, f"{field}.constant")
        check_number_fits(message.constant, torch.float32, f"{field}.constant")
        return torch.tensor(message.constant)
    if kind not in ("tensor", "distribution"):
        raise InvalidRequest(
            f"{field}.{kind}" if kind else field, "must be constant, tensor or distribution"
        )
    tensor = message.tensor if kind == "tensor" else message.distribution
    field = f"{field}.{kind}"
    own = tensor.datatype or ("FP32" if tensor.HasField("values") else "")
    wire.check_datatype(own, field)
    dtype = wire.DATATYPES[own]
    whole = not tensor.HasField("values") and not tensor.shape
    if dtype is None or not dtype.is_floating_point or whole:
        raise InvalidRequest(
            field,
            f"{own} of shape {wire.shown(tensor.shape)}; must be floating-point numbers of the "
            "layer's shape, the batch first",
        )
    values = wire.decode(tensor, field, datatype="FP32")
    if not isinstance(values, Tensor):
        raise InvalidRequest(f"{field}.values", "texts; must be numbers")
    return values


def _check_finite(number: float, field: str) -> None:
    if not math.isfinite(number):
        raise InvalidRequest(field, f"{number}; must be finite")


def check_number_fits(number: float, dtype: torch.dtype, field: str) -> None:
    """Raises `InvalidRequest` if a datatype does not have a number."""
    name = wire.NAMES[dtype]
    if dtype is torch.bool:
        if number not in (0, 1):
            raise InvalidRequest(field, f"{number:g}; the input is BOOL: must be 0 or 1")
    elif not dtype.is_floating_point:
        limits = torch.iinfo(dtype)
        if not number.is_integer() or not limits.min <= number <= limits.max:
            raise InvalidRequest(
                field,
                f"{number:g}; the input is {name}: must be a whole number from {limits.min} to "
                f"{limits.max}",
            )
    elif abs(number) > torch.finfo(dtype).max:
        most = torch.finfo(dtype).max
        raise InvalidRequest(
            field, f"{number:g}; the input is {name}: must be from {-most:g} to {most:g}"
        )


def blurred(
    values: Tensor, sigma: float, declared: InputDeclaration, field: str, reading: Reading
) -> Tensor:
    """Returns blurred images `(rows, channels, height, width)`; edge pixels extend beyond.

    Raises:
        InvalidRequest: `sigma` is not above 0, or the input is not an image.
    """
    if declared.kind != "image":
        raise InvalidRequest(field, f"{declared.name!r} is {declared.kind}, and only images blur")
    height, width = values.shape[2:]
    longest = max(height, width)
    if not 0 < sigma <= longest:
        raise InvalidRequest(f"{field}.sigma", f"{sigma}; must be above 0 and at most {longest}")
    down, along = _blurring(height, sigma, values), _blurring(width, sigma, values)
    blurred = torch.empty_like(values)
    for row, image in enumerate(values):
        reading.check()
        blurred[row] = down @ image @ along.T
    return blurred


def _blurring(length: int, sigma: float, values: Tensor) -> Tensor:
    """Returns the matrix `(length, length)` that blurs a line of pixels, for any sigma.

    The pixel at an end gets the weights of all places beyond it.
    """
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-((offsets / sigma) ** 2) / 2)
    weights /= weights.sum()
    places = torch.arange(length)
    seen = (places[:, None] + offsets.long()).clamp(0, length - 1)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    matrix.scatter_add_(1, seen, weights.expand(length, -1))
    return matrix.to(values)


def _with_batch(message: tensor_pb2.Tensor, rank: int) -> tensor_pb2.Tensor:
    """Returns a single baseline without a batch as one of a batch of 1; others as they are.

    Args:
        message: The baseline.
        rank: The number of the input's dimensions.
    """
    if len(message.shape or wire.nested_lengths(message)) != rank - 1:
        return message
    if message.datatype == "BYTES" or wire.has_texts(message):
        return message
    single = tensor_pb2.Tensor(datatype=message.datatype)
    if message.HasField("values"):
        single.values.values.add().list_value.CopyFrom(message.values)
    else:
        single.data = message.data
    if message.shape:
        single.shape.extend([1, *message.shape])
    return single


def _check_features(baseline: Tensor, values: Tensor, field: str) -> None:
    if baseline.shape[1:] != values.shape[1:]:
        raise InvalidRequest(
            field,
            f"shape {wire.shown(baseline.shape)}; the input's is {wire.shown(values.shape)}, and "
            "all but the batch must be equal",
        )
