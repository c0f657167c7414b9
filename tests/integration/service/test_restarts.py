"""Calls that replace workers, where they are not allowed."""

import grpc
import pytest

from adcaptum.v1 import repository_service_pb2 as pb, repository_service_pb2_grpc as pb_grpc
from tests.integration.service.asking import reason


def test_callers_do_not_replace_workers_unless_the_server_allows_it(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pb_grpc.RepositoryServiceStub(channel).RestartWorkers(pb.RestartWorkersRequest())
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason(caught.value) == "ADMIN_REFUSED"
