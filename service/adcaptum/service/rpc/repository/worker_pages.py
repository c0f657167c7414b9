"""Pages of workers."""

from collections.abc import Sequence

from adcaptum.service.rpc import pages
from adcaptum.v1 import repository_service_pb2 as pb


def listed(workers: Sequence[pb.Worker], request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
    """Returns a page of workers."""
    shown, token = pages.page(workers, _id, request.page_size, request.page_token, "workers")
    return pb.ListWorkersResponse(workers=shown, next_page_token=token)


def _id(worker: pb.Worker) -> str:
    # Numbers of one length sort as numbers do.
    return worker.id.zfill(4)
