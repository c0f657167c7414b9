"""The request reader: reads requests in the event loop or in threads, by their cost.

The event loop reads only requests that take less than a millisecond, by an upper bound that is
known before anything is decoded. Threads read all others. Requests that may take long have a lane
of their own, one at a time, so that many images of one caller delay neither other calls nor the
texts of others.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from adcaptum.service.errors import TooBusy
from adcaptum.service.handlers.call import Call
from adcaptum.service.handlers.reading_lane import ReadingLane
from adcaptum.service.models.served_model import ServedModel
from adcaptum.service.requests import inputs, parsed_request
from adcaptum.service.requests.inputs import Inputs
from adcaptum.service.requests.parsed_request import ParsedRequest
from adcaptum.service.requests.questions import presets, question, targets
from adcaptum.service.requests.questions.question import Question
from adcaptum.service.requests.questions.resolved_questions import ResolvedQuestions
from adcaptum.service.requests.reading import USUAL_TEXT_BYTES, Reading
from adcaptum.service.requests.reading_cost import ReadingCost, has_images, is_plain
from adcaptum.service.requests.request_key import request_key
from adcaptum.v1 import explanation_service_pb2 as pb

T = TypeVar("T")

PLAIN_BYTES: Final = 1 << 12
"""The largest request of plain numbers for one method whose cost is not even estimated."""

PLAIN_TARGETS: Final = 8
"""The most explained numbers of such a request."""

INLINE_TARGETS: Final = 128
"""The most targets of a question that the event loop resolves, in a millisecond at most."""

INLINE_BYTES: Final = 1 << 17
"""The largest request whose key is made in the event loop, in 0.3 ms at most."""

INLINE_SECONDS: Final = 0.001
"""The longest reading, by its bound, in the event loop."""

LONG_SECONDS: Final = 0.05
"""The longest reading, by its bound, beside others; longer ones run one at a time."""

THREADS: Final = 2
"""The requests that are read at a time beside a long one."""


class RequestReader:
    """The reader of all requests."""

    def __init__(
        self,
        max_image_pixels: int,
        max_bytes: int,
        retry_seconds: Callable[[], float],
        max_text_bytes: int = USUAL_TEXT_BYTES,
    ) -> None:
        """Prepares the reader.

        Args:
            max_image_pixels: The most pixels of an encoded image.
            max_bytes: The most memory of the requests that are read in threads, or wait for it.
            retry_seconds: Returns after how many seconds a refused request should be tried again.
            max_text_bytes: The most bytes of all texts of a request.
        """
        self._max_text_bytes = max_text_bytes
        self._max_image_pixels = max_image_pixels
        self._max_bytes = max_bytes
        self._retry_seconds = retry_seconds
        self._questions = ResolvedQuestions()
        self._held = 0
        self._short = ReadingLane("reading", THREADS, retry_seconds)
        self._long = ReadingLane("long-reading", 1, retry_seconds)

    async def question(
        self, request: pb.ExplainRequest, model: ServedModel, call: Call
    ) -> Question:
        """Returns the question of a request, resolved.

        Raises:
            InvalidRequest: Something in it is not allowed.
            Unsupported: The model can run none of its methods.
            DeadlineExceeded: The deadline came first.
            TooBusy: Too many requests wait to be read.
        """
        spec = presets.effective_spec(request, model.presets)
        known = self._questions.find(spec, model)
        if known is not None:
            return known
        if targets.most(spec.targets, model) <= INLINE_TARGETS:
            return self._questions.resolve(spec, model)
        reading = self._reading(call)
        return await self._short.run(call.caller, reading, partial(question.resolve, spec, model))

    async def key(
        self,
        request: pb.ExplainRequest,
        model: ServedModel,
        question: Question,
        call: Call,
    ) -> bytes:
        """Returns the key of a request: equal for requests with the same answer.

        Args:
            request: The request.
            model: The model that it is for.
            question: Its question, resolved.
            call: Its call.

        Raises:
            DeadlineExceeded: The deadline came first.
            TooBusy: Too many requests wait to be read.
        """
        make = partial(request_key, request, model.identity, question)
        if call.nbytes <= INLINE_BYTES:
            return make()
        reading = self._reading(call)
        return await self._short.run(call.caller, reading, make)

    async def prediction(
        self, request: pb.PredictRequest, model: ServedModel, call: Call
    ) -> Inputs:
        """Reads a prediction's request.

        Raises:
            InvalidRequest: Something in it is not allowed.
            DeadlineExceeded: The deadline came first.
            TooBusy: Too many requests wait to be read.
        """
        reading = self._reading(call)
        if call.nbytes <= PLAIN_BYTES and all(map(is_plain, request.inputs)):
            return inputs.read(request.inputs, model.loaded, reading)
        return await self._read(
            call,
            reading,
            partial(ReadingCost.of_prediction, request, model),
            partial(inputs.read, request.inputs, model.loaded, reading),
            look=has_images(request, model.loaded),
        )

    async def explanation(
        self,
        request: pb.ExplainRequest,
        model: ServedModel,
        question: Question,
        call: Call,
    ) -> ParsedRequest:
        """Reads an explanation's request.

        Args:
            request: The request.
            model: The model that it is for.
            question: Its question, resolved.
            call: Its call.

        Raises:
            InvalidRequest: Something in it is not allowed.
            DeadlineExceeded: The deadline came first.
            TooBusy: Too many requests wait to be read.
        """
        reading = self._reading(call)
        spec = question.spec
        if (
            call.nbytes <= PLAIN_BYTES
            and len(question.methods) == 1
            and question.targets.count <= PLAIN_TARGETS
            and not spec.baselines
            and not spec.feature_masks
            and question.layer is None
            and all(map(is_plain, request.inputs))
        ):
            return parsed_request.read(request, model, question, reading)
        return await self._read(
            call,
            reading,
            partial(ReadingCost.of_explanation, request, model, question),
            partial(parsed_request.read, request, model, question, reading),
            look=has_images(request, model.loaded, spec),
        )

    def close(self) -> None:
        """Starts no more readings."""
        self._short.close()
        self._long.close()

    def _reading(self, call: Call) -> Reading:
        """Returns the bounds of reading the request of a call."""
        return Reading(self._max_image_pixels, call.deadline, max_text_bytes=self._max_text_bytes)

    async def _read(
        self,
        call: Call,
        reading: Reading,
        bound: Callable[[int, int], ReadingCost],
        read: Callable[[], T],
        *,
        look: bool,
    ) -> T:
        """Reads a request in the event loop, or in the lane for its cost.

        Args:
            call: Its call.
            reading: The bounds of reading it.
            bound: Returns the cost, from the request's size and the most pixels of an image.
            read: Reads it.
            look: Whether the cost depends on the data, which are then copied.
        """
        bound_now = partial(bound, call.nbytes, self._max_image_pixels)
        if look and call.nbytes > INLINE_BYTES:
            cost = await self._short.run(call.caller, reading, bound_now)
        else:
            cost = bound_now()
        if cost.seconds <= INLINE_SECONDS:
            return read()
        nbytes = call.nbytes + cost.nbytes
        if self._held and self._held + nbytes > self._max_bytes:
            raise TooBusy(
                f"{self._held} bytes of requests wait to be read, and this one takes {nbytes}; at "
                f"most {self._max_bytes} are held",
                retry_s=self._retry_seconds(),
                limit="bytes",
            )
        lane = self._long if cost.seconds > LONG_SECONDS else self._short
        self._held += nbytes
        try:
            return await lane.run(call.caller, reading, read)
        finally:
            self._held -= nbytes
