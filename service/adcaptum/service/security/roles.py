"""Roles: the one that each call needs, and where the call names its model."""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Role(enum.StrEnum):
    """The kinds of calls that a caller may be allowed."""

    READ = "read"
    """Descriptions: of models, methods and the server."""

    PREDICT = "predict"
    EXPLAIN = "explain"

    ADMIN = "admin"
    """Whatever changes what serves: workers, loaded models, aliases."""

    METRICS = "metrics"
    """The metrics of the HTTP port."""


class Need(NamedTuple):
    """The permission that a call needs.

    Attributes:
        role: The role.
        path: The numbers of the fields that lead to the name of its model; empty if it has none.
        whole: Whether the role must be for all models.
    """

    role: Role
    path: tuple[int, ...] = ()
    whole: bool = False


OURS: Final = "adcaptum.v1.ExplanationService/"
REPOSITORY: Final = "adcaptum.v1.RepositoryService/"
OIP: Final = "inference.GRPCInferenceService/"

OPEN: Final = frozenset(
    {
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        OIP + "ServerLive",
        OIP + "ServerReady",
    }
)
"""The calls that everybody may make: probes, which tell no more than whether something serves."""

NEEDS: Final[Mapping[str, Need]] = MappingProxyType(
    {
        OURS + "Predict": Need(Role.PREDICT, (1, 1)),
        OURS + "Explain": Need(Role.EXPLAIN, (1, 1)),
        OURS + "ExplainStream": Need(Role.EXPLAIN, (1, 1, 1)),
        OURS + "ListModels": Need(Role.READ),
        OURS + "GetModel": Need(Role.READ, (1, 1)),
        OURS + "ListMethods": Need(Role.READ, (1, 1)),
        OURS + "GetServer": Need(Role.READ),
        **dict.fromkeys(
            [REPOSITORY + name for name in ("LoadModel", "UnloadModel", "SetAlias", "DeleteAlias")],
            Need(Role.ADMIN, (1, 1)),
        ),
        "http/metrics": Need(Role.METRICS),
        "grpc.health.v1.Health/List": Need(Role.READ, whole=True),
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Need(Role.READ),
        # Their models are asked for by the calls of our own that they become.
        **dict.fromkeys(
            [
                OIP + name
                for name in (
                    "ServerMetadata",
                    "ModelReady",
                    "ModelMetadata",
                    "ModelConfig",
                    "ModelStatistics",
                    "RepositoryIndex",
                )
            ],
            Need(Role.READ),
        ),
        OIP + "ModelInfer": Need(Role.PREDICT),
        OIP + "ModelStreamInfer": Need(Role.PREDICT),
    }
)
"""The permission for each call; for calls that are not here, such as those about workers, the role
admin for all models."""

UNLISTED: Final = Need(Role.ADMIN, whole=True)


def need_of(method: str) -> Need | None:
    """Returns the permission that a call needs; None: everybody may make it.

    Args:
        method: The service and the method, as `adcaptum.v1.ExplanationService/Predict`.
    """
    return None if method in OPEN else NEEDS.get(method, UNLISTED)
