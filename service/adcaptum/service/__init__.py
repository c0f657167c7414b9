"""The service: one server, one port, one set of loaded weights for predictions and explanations."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adcaptum.service.authoring.in_process import serve

__all__ = ["serve"]


def __getattr__(name: str) -> object:
    # Not imported at once: the command line and the front do without torch.
    if name == "serve":
        from adcaptum.service.authoring.in_process import serve  # noqa: PLC0415

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
