"""The calls that load and unload models and move aliases, without their sending."""

from adcaptum.client.calling.calls import Call, Exchange, ask
from adcaptum.client.codec.descriptions import decode_model, decode_version_info
from adcaptum.client.codec.requests import model_ref
from adcaptum.client.results.model_info import ModelInfo, VersionInfo
from adcaptum.v1 import repository_service_pb2 as pb


def load_model(
    name: str, *, version: str | None, alias: str | None, wait: bool, idempotency_key: str
) -> Exchange[VersionInfo]:
    """Load a model, or load it anew."""
    call: Call[pb.LoadModelRequest, pb.LoadModelResponse] = Call(
        lambda stub: stub.LoadModel,
        pb.LoadModelRequest(
            model=model_ref(name, version, alias), wait=wait, idempotency_key=idempotency_key
        ),
    )
    return decode_version_info((yield from ask(call)).version)


def unload_model(
    name: str, *, version: str | None, alias: str | None, idempotency_key: str
) -> Exchange[VersionInfo]:
    """Take a model out of memory."""
    call: Call[pb.UnloadModelRequest, pb.UnloadModelResponse] = Call(
        lambda stub: stub.UnloadModel,
        pb.UnloadModelRequest(
            model=model_ref(name, version, alias), idempotency_key=idempotency_key
        ),
    )
    return decode_version_info((yield from ask(call)).version)


def set_alias(
    name: str, alias: str, *, version: str | None, of: str | None, expected_version: str | None
) -> Exchange[ModelInfo]:
    """Move an alias, or make one."""
    call: Call[pb.SetAliasRequest, pb.SetAliasResponse] = Call(
        lambda stub: stub.SetAlias,
        pb.SetAliasRequest(
            model=model_ref(name, version, of), alias=alias, expected_version=expected_version
        ),
    )
    return decode_model((yield from ask(call)).model)


def delete_alias(name: str, alias: str, *, expected_version: str | None) -> Exchange[ModelInfo]:
    """Remove an alias."""
    call: Call[pb.DeleteAliasRequest, pb.DeleteAliasResponse] = Call(
        lambda stub: stub.DeleteAlias,
        pb.DeleteAliasRequest(
            model=model_ref(name), alias=alias, expected_version=expected_version
        ),
    )
    return decode_model((yield from ask(call)).model)
