"""Decoding of the events of a stream."""

from adcaptum.client.codec.replies import ResultDecoder, decode_explanations
from adcaptum.client.results.events import Accepted, Event, Progress, Result
from adcaptum.client.results.sequence import DecodedSequence
from adcaptum.v1 import explanation_service_pb2


class EventDecoder:
    """Decodes the events of one stream, which name the features once."""

    def __init__(self) -> None:
        self._results = ResultDecoder((), {}, {})

    def decode(self, response: explanation_service_pb2.ExplainStreamResponse) -> Event | None:
        """Decode an event; None for a kind that this client does not know."""
        match response.WhichOneof("event"):
            case "accepted":
                accepted = response.accepted
                self._results = ResultDecoder((), {}, {})
                return Accepted(
                    request_id=accepted.request_id,
                    expected_rows=accepted.expected_rows,
                    expected_seconds=accepted.expected_seconds,
                    rows_ahead=accepted.rows_ahead,
                    requests_ahead=accepted.requests_ahead,
                )
            case "progress":
                progress = response.progress
                if progress.features:
                    self._results = ResultDecoder(progress.features, {}, {})
                remaining = progress.remaining_seconds
                return Progress(
                    rows_done=progress.rows_done,
                    expected_rows=progress.expected_rows,
                    remaining_seconds=(
                        remaining if progress.HasField("remaining_seconds") else None
                    ),
                    results=DecodedSequence(progress.results, self._results.result),
                )
            case "result":
                return Result(decode_explanations(response.result))
        return None
