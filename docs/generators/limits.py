"""The page of the limits on what callers send, from the constants and settings that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from adcaptum.service.models.declaration import Declaration
from adcaptum.service.protocols.protojson import reader as protojson
from adcaptum.service.requests import inputs
from adcaptum.service.requests.questions import targets
from adcaptum.service.rpc import calls, listening, messages, other_services
from adcaptum.service.rpc.web import impatient_protocol
from adcaptum.service.settings import Settings
from adcaptum.service.wire import method_specs, structure, tensors, typed_values
from docs.generators.markdown import table


class Limit(NamedTuple):
    """A limit.

    Attributes:
        of: The thing that is bounded.
        most: The most of it.
        told: The reason of the error beyond it.
    """

    of: str
    most: str
    told: str


def _default(name: str) -> str:
    default = Settings.model_fields[name].default
    return f"`{name}`, unset" if default is None else f"`{name}`, {default:,}"


INVALID: Final = "FIELD_INVALID"
LARGE: Final = "REQUEST_TOO_LARGE"
SETTINGS: Final = (
    Limit(
        "bytes of a message", _default("max_message_bytes"), "RESOURCE_EXHAUSTED, of gRPC itself"
    ),
    Limit("pixels of an encoded image", _default("max_image_pixels"), INVALID),
    Limit("bytes of all texts of a request", _default("max_text_bytes"), INVALID),
    Limit("requests in flight", _default("max_requests"), "QUEUE_FULL"),
    Limit("rows in flight", _default("max_queue_rows"), "QUEUE_FULL"),
    Limit("bytes that requests in flight hold", _default("max_queue_bytes"), "QUEUE_FULL"),
    Limit("requests of one caller in flight", _default("max_caller_requests"), "QUOTA"),
    Limit("rows of one caller in flight", _default("max_caller_rows"), "QUOTA"),
    Limit("bytes of one caller in flight", _default("max_caller_bytes"), "QUOTA"),
)
MODELS: Final = (
    Limit(
        "examples of a request",
        f"`[limits] max_examples`, {Declaration('', '', '', (), ()).max_examples:,}",
        INVALID,
    ),
    Limit(
        "rows of a request",
        f"`[limits] max_rows`, {Declaration('', '', '', (), ()).max_rows:,}",
        "BUDGET_TOO_SMALL, or fewer rows are used",
    ),
    Limit("tokens of a text", "`max_tokens` of the input", "cut, with a warning in the answer"),
)
CONSTANTS: Final = (
    Limit("bytes beside the data of tensors", f"{structure.MOST_STRUCTURE:,}", LARGE),
    Limit("fields of a large message", f"{structure.MOST_FIELDS:,}", LARGE),
    Limit("elements of all `values`", f"{structure.MOST_TYPED:,}", LARGE),
    Limit(
        "numbers or texts of a tensor's `values`",
        f"{typed_values.MOST_NUMBERS:,}",
        INVALID,
    ),
    Limit("lists inside one another in `values`", str(typed_values.MOST_NESTED), INVALID),
    Limit("inputs, baselines or masks of a kind", str(inputs.MOST_TENSORS), LARGE),
    Limit("dimensions of a tensor", str(tensors.MOST_DIMENSIONS), INVALID),
    Limit("items of a tensor of BYTES", f"{tensors.MOST_ITEMS:,}", INVALID),
    Limit(
        "explanations of a request: targets times examples",
        f"{targets.MOST_EXPLANATIONS:,}",
        INVALID,
    ),
    Limit("outputs that `all` or `top_k` stands for", f"{targets.MOST_TARGETS:,}", INVALID),
    Limit("numbers in a list of a parameter", str(method_specs.MOST_INTEGERS), INVALID),
    Limit("largest whole number of a parameter", f"{method_specs.LARGEST_INTEGER:,}", INVALID),
    Limit(
        "objects, lists and scalars of JSON beside `values`", f"{protojson.MOST_ELEMENTS:,}", LARGE
    ),
    Limit("characters of `x-request-id` and `x-caller-id`", str(calls.MOST_ID), "ignored"),
    Limit(
        "seconds until a call has sent its request",
        f"{messages.MESSAGE_SECONDS:g}",
        "DEADLINE_PASSED",
    ),
    Limit(
        "calls of health, reflection and the like", str(other_services.MOST_OTHERS), "QUEUE_FULL"
    ),
    Limit(
        "connections of HTTP",
        str(impatient_protocol.MOST_CONNECTIONS),
        "the oldest idle one is closed",
    ),
    Limit(
        "seconds of a silent connection of gRPC",
        str(listening.SILENCE_SECONDS + listening.PING_SECONDS),
        "closed",
    ),
)


def limits_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Limits"
    yield ""
    yield (
        "Nothing that a caller sends is without a bound. What an operator may want to change are "
        "[settings](settings.md) and fields of [model.toml](model-toml.md); the others are "
        "fixed: clients, workers and other servers rely on them, and the time that they bound "
        "was measured with them. "
        "[Errors](errors.md) explains the reasons."
    )
    for title, rows in (
        ("Settings of the server", SETTINGS),
        ("Of a model", MODELS),
        ("Fixed", CONSTANTS),
    ):
        yield f"\n## {title}\n"
        yield from table(("most", "value", "beyond it"), rows)
    yield ""
    yield (
        "Masks, baselines and images count as tensors: they have the shapes of their inputs. "
        "Names, labels and texts of parameters are bytes beside the data of tensors. Quotas "
        "of single callers stand with their [credentials](../how-to/secure-a-server.md)."
    )
