"""Changes of models that callers of a further front ask for; the first front makes them."""

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc

from adcaptum.service.front.error_table import TABLE
from adcaptum.service.front.following.bulletin import line
from adcaptum.service.front.worker_answer import WorkerAnswer
from adcaptum.service.rpc.error_answers import CODES_BY_NUMBER, DETAILS_KEY
from adcaptum.service.rpc.interceptors import CALL
from adcaptum.service.rpc.repository.change_handlers import Changes, calls
from adcaptum.v1 import repository_service_pb2 as pb


class RemoteChanges:
    """The changes that the first front was asked for; see `Changes`."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        """Prepares it.

        Args:
            writer: The connection to the first front.
        """
        self._writer = writer
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}

    async def load(self, request: pb.LoadModelRequest) -> pb.LoadModelResponse:
        """Loads a model."""
        return pb.LoadModelResponse.FromString(await self._ask("LoadModel", request))

    async def unload(self, request: pb.UnloadModelRequest) -> pb.UnloadModelResponse:
        """Takes a model out of memory."""
        return pb.UnloadModelResponse.FromString(await self._ask("UnloadModel", request))

    async def set_alias(self, request: pb.SetAliasRequest) -> pb.SetAliasResponse:
        """Moves an alias."""
        return pb.SetAliasResponse.FromString(await self._ask("SetAlias", request))

    async def delete_alias(self, request: pb.DeleteAliasRequest) -> pb.DeleteAliasResponse:
        """Removes an alias."""
        return pb.DeleteAliasResponse.FromString(await self._ask("DeleteAlias", request))

    def ended(self, told: Mapping[str, Any]) -> None:
        """Notes the end of a change."""
        end = self._waiting.get(told["changed"])
        if end is not None and not end.done():
            end.set_result(told)

    async def _ask(self, rpc: str, request: Any) -> bytes:
        self._number += 1
        number = self._number
        end = self._waiting[number] = asyncio.get_running_loop().create_future()
        body = request.SerializeToString().hex()
        told = {"change": rpc, "body": body, "id": CALL.get().id, "number": number}
        self._writer.write(line(told))
        try:
            answer = await end
        finally:
            del self._waiting[number]
        if "body" in answer:
            return bytes.fromhex(answer["body"])
        details = bytes.fromhex(answer["details"])
        raise WorkerAnswer(
            grpc.aio.AioRpcError(
                CODES_BY_NUMBER[answer["code"]],
                grpc.aio.Metadata(),
                grpc.aio.Metadata((DETAILS_KEY, details)),
                answer["message"],
            )
        )


async def made(told: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Makes a change that a further front has asked for; returns what it is told."""
    request = getattr(pb, f"{told['change']}Request").FromString(bytes.fromhex(told["body"]))
    number = {"changed": told["number"]}
    try:
        answer = await calls(changes)[told["change"]](request)
    except Exception as error:  # noqa: BLE001 - the caller is told of it
        status = TABLE.answer(error, told["id"])
        code, details = status.code.value[0], status.details.hex()
        return {**number, "code": code, "message": status.message, "details": details}
    return {**number, "body": answer.SerializeToString().hex()}
