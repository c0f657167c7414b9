"""The classes of the protocol's messages, in a pool of their own.

The pool of all generated code takes each name once: with the protocol's there, no program could
import this package beside another one that has them, such as a client of Triton.
"""

from importlib import resources
from typing import Any, Final

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE: Final = "inference"
SERVICE: Final = f"{PACKAGE}.GRPCInferenceService"


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    raw = (resources.files(__package__) / "inference.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(raw).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL: Final = _pool()
"""The descriptors of the protocol."""


def message(name: str) -> Any:
    """Returns the class of a message by its name in the protocol."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


InferRequestMessage: Final = message("ModelInferRequest")
InferReplyMessage: Final = message("ModelInferResponse")
StreamReplyMessage: Final = message("ModelStreamInferResponse")
