"""The blocking client."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from adcaptum.client.addresses import Address, are_balanced, listed, target
from adcaptum.client.calling import exchange
from adcaptum.client.calling.administration import Administration
from adcaptum.client.calling.calls import AnyCall, Exchange
from adcaptum.client.calling.many import explain_many
from adcaptum.client.calling.memory import Memory
from adcaptum.client.calling.services import Services
from adcaptum.client.codec.events import EventDecoder
from adcaptum.client.codec.inputs import Inputs
from adcaptum.client.codec.replies import decode_explanations, decode_prediction
from adcaptum.client.codec.status import error_of
from adcaptum.client.connection import (
    DEFAULT_ADDRESS,
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_TIMEOUT_S,
    Compression,
    Connection,
)
from adcaptum.client.deadlines import shortened
from adcaptum.client.errors import AdcaptumError
from adcaptum.client.results.answer import Answer
from adcaptum.client.results.events import Event
from adcaptum.client.results.explanations import Explanations
from adcaptum.client.results.method_info import MethodInfo
from adcaptum.client.results.model_info import ModelInfo
from adcaptum.client.results.prediction import PredictResult
from adcaptum.client.results.server_info import ServerInfo
from adcaptum.client.spec import ExplainOptions

_Result = TypeVar("_Result")


class Client(Administration):
    """Predictions and explanations from a server.

    One client may be used by several threads. Its methods raise the errors of
    `adcaptum.client.errors`. Use it as a context manager, or close it.
    """

    def __init__(
        self,
        address: Address = DEFAULT_ADDRESS,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        tls: bool = False,
        root_certificates: bytes | None = None,
        client_key: bytes | None = None,
        client_certificates: bytes | None = None,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        compression: Compression | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        """Prepare a connection; the first call opens it.

        Args:
            address: The server's host and port; several in a list, or with commas between them,
                or a target of gRPC such as ``dns:///name:port``: calls go to the healthy ones in
                turns.
            timeout: Default timeout of a call in seconds; None for no limit.
            tls: Whether to encrypt; certificates imply it.
            root_certificates: PEM certificates to trust instead of the system's.
            client_key: PEM private key that proves who the client is.
            client_certificates: PEM certificate chain that belongs to client_key.
            max_attempts: Total number of attempts of a call while the server is unavailable,
                from 1 (no retry) to 5.
            compression: Compression of messages: gzip, deflate, or None.
            token: API key or JSON web token that says who the client is.
            metadata: Sent with every call.
            channel: An open channel to use instead; it then determines address, TLS, attempts and
                compression.
        """
        connection = Connection(
            tls,
            root_certificates,
            client_key,
            client_certificates,
            max_attempts,
            compression,
            token,
            are_balanced(addresses := listed(address)),
        )
        self._channel = _open(target(addresses), connection) if channel is None else channel
        self._stub = Services(self._channel)
        self._timeout_s = timeout
        self._metadata = (*connection.metadata, *(metadata or {}).items())
        self._memory = Memory(templates=channel is None)

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: str | None = None,
        alias: str | None = None,
        max_labels: int | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> PredictResult:
        """Return the outputs of a model, and the labels with the largest ones.

        Args:
            model: The model's name.
            inputs: Its input, or its inputs by name: arrays with the batch first, texts, or encoded
                images as bytes or as paths of files.
            version: The version that answers; by default the model's default version.
            alias: The alias of the version that answers.
            max_labels: Most labels of a prediction; by default 5.
            timeout: Timeout in seconds; by default the client's.
            request_id: The id under which the server logs the call; by default generated.
        """
        options = exchange.PredictOptions(version=version, alias=alias, max_labels=max_labels)
        request = self._memory.predict.write(model, inputs, options)
        if request is not None:
            response = self._send(self._stub.Predict, request, timeout, request_id)
            return decode_prediction(response)
        return self._run(
            exchange.predict(
                self._memory, model, inputs, options, timeout=timeout, request_id=request_id
            )
        )

    def explain(
        self,
        model: str,
        inputs: Inputs,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[ExplainOptions],
    ) -> Explanations:
        """Return attributions: the contribution of each part of the inputs to an output.

        Args:
            model: The model's name.
            inputs: Its input, or its inputs by name, as for `predict`.
            timeout: Timeout in seconds; by default the client's.
            request_id: The id under which the server logs the call; by default generated.
            **options: See `ExplainOptions`: version, alias, preset, spec, on_deadline, priority,
                cache; and the fields of a question: methods, targets, baselines, feature_masks,
                site, through, max_rows, tolerance, channel_reduction, max_features, datatype,
                return_inputs, return_outputs, return_predictions, return_features, max_labels,
                seed, deterministic.
        """
        request = self._memory.explain.write(model, inputs, options)
        if request is not None:
            response = self._send(self._stub.Explain, request, timeout, request_id)
            return decode_explanations(response)
        return self._run(
            exchange.explain(
                self._memory, model, inputs, options, timeout=timeout, request_id=request_id
            )
        )

    def explain_stream(
        self,
        model: str,
        inputs: Inputs,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[ExplainOptions],
    ) -> Iterator[Event]:
        """Explain like `explain`, and yield progress and estimates on the way.

        The iteration raises the errors; ending it early cancels the call.

        Returns:
            Accepted, any number of Progress, Result.
        """
        steps = exchange.explain_stream(
            self._memory, model, inputs, options, timeout=timeout, request_id=request_id
        )
        return self._events(steps)

    def explain_many(
        self,
        model: str,
        inputs: Iterable[Inputs],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        progress: bool = False,
        timeout: float | None = None,
        **options: Unpack[ExplainOptions],
    ) -> Iterator[Answer]:
        """Explain many inputs, some of them at a time.

        A request that fails does not end the others: its answer has the error. One for which the
        server has too much work is sent again, after the time that the server says. Ending the
        iteration early cancels the requests that have not begun.

        Args:
            model: The model's name.
            inputs: The inputs of each request, as for `explain`; read as they are needed.
            concurrency: Most requests at a time.
            ordered: Whether answers come in the order of the inputs, or as they are there.
            progress: Whether to show a progress bar; needs tqdm or rich.
            timeout: Timeout of each request in seconds; by default the client's.
            **options: Options of every request, as for `explain`.
        """
        return explain_many(
            lambda given: self.explain(model, given, timeout=timeout, **options),
            inputs,
            concurrency=concurrency,
            ordered=ordered,
            progress=progress,
        )

    def models(self) -> tuple[ModelInfo, ...]:
        """List all models, without their layers."""
        return self._run(exchange.models())

    def model(
        self, name: str, *, version: str | None = None, alias: str | None = None
    ) -> ModelInfo:
        """Describe a model with its layers; with a version or an alias, that version only."""
        return self._run(exchange.model(name, version=version, alias=alias))

    def methods(self, model: str | None = None) -> tuple[MethodInfo, ...]:
        """List all attribution methods; with a model, mark those that it can run."""
        return self._run(exchange.methods(model))

    def server(self) -> ServerInfo:
        """Describe the server."""
        return self._run(exchange.server())

    def close(self) -> None:
        """Cancel the running calls and close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, steps: Exchange[_Result]) -> _Result:
        with contextlib.closing(steps):
            try:
                call = next(steps)
                while True:
                    try:
                        response = self._invoke(call)
                    except AdcaptumError as error:
                        call = steps.throw(error)
                    else:
                        call = steps.send(response)
            except StopIteration as stop:
                result: _Result = stop.value
                return result

    def _events(self, steps: Exchange[exchange.StreamCall]) -> Iterator[Event]:
        call = self._run(steps)
        stream = self._invoke(call)
        decoder = EventDecoder()
        try:
            for response in stream:
                if (event := decoder.decode(response)) is not None:
                    yield event
        except grpc.RpcError as failure:
            raise error_of(failure) from failure
        finally:
            stream.cancel()

    def _invoke(self, call: AnyCall) -> Any:
        return self._send(call.rpc(self._stub), call.request, call.timeout_s, call.request_id)

    def _send(self, rpc: Any, request: Any, timeout: float | None, request_id: str | None) -> Any:
        try:
            return rpc(
                request,
                timeout=shortened(self._timeout_s if timeout is None else timeout),
                metadata=exchange.metadata(self._metadata, request_id),
            )
        except grpc.RpcError as failure:
            raise error_of(failure) from failure


def _open(address: str, connection: Connection) -> grpc.Channel:
    options, compression = connection.options, connection.grpc_compression
    if (credentials := connection.credentials) is None:
        return grpc.insecure_channel(address, options, compression)
    return grpc.secure_channel(address, credentials, options, compression)
