"""A canned server and both clients of it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from adcaptum.client import AsyncClient, Client
from tests.unit.client.canned_server import CannedServicer, serving


@pytest.fixture
def servicer() -> CannedServicer:
    return CannedServicer()


@pytest.fixture
def address(servicer: CannedServicer) -> Iterator[str]:
    with serving(servicer) as served_at:
        yield served_at


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as connected:
        yield connected


@pytest_asyncio.fixture
async def async_client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as connected:
        yield connected
