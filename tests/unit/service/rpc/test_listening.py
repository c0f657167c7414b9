"""Ports that several fronts share."""

import socket
from pathlib import Path

import pytest

from adcaptum.service.processes.exits import CannotStart
from adcaptum.service.rpc import listening
from adcaptum.service.settings import Settings


def test_a_system_without_shared_ports_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(CannotStart, match=r"fronts 2: .* SO_REUSEPORT"):
        listening.check_free(Settings(repository=tmp_path, fronts=2))


def test_a_port_in_use_is_not_shared_with_strangers(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match=str(port)):
            listening.check_free(Settings(repository=tmp_path, fronts=2, port=port))
    listening.check_free(Settings(repository=tmp_path, fronts=2, port=port))
