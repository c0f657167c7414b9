"""Every block of code in the documentation runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from PIL import Image

from adcaptum.v1 import explanation_service_pb2, explanation_service_pb2_grpc
from adcaptum.zoo import samples
from adcaptum.zoo.demo import Addresses, server
from tests.integration.docs.pages import ROOT, RUN, SHOWN, Block, blocks, pages
from tests.unit.zoo.conftest import model_folder

__all__ = ["model_folder"]

USUAL = Addresses("127.0.0.1:8500", "127.0.0.1:8501")
GRPCURL = Path(__file__).parent / "grpcurl.py"
PROGRAMS = [path for path in pages() if any(block.language in RUN for block in blocks(path))]


@pytest.fixture(scope="module")
def demo(
    model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Addresses]]:
    """The addresses of a server of the bundled models, started when a page needs it."""
    folder = tmp_path_factory.mktemp("docs-models")
    started: list[Addresses] = []
    with ExitStack() as stack:

        def addresses() -> Addresses:
            if not started:
                for name in ("photos", "reviews", "cells"):
                    (folder / name).symlink_to(model_folder(name).resolve())
                started.append(stack.enter_context(server(folder)))
            return started[0]

        yield addresses


@pytest.mark.parametrize("path", pages(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_block_is_run_or_says_why_not(path: Path) -> None:
    for block in blocks(path):
        where = f"{block.page}:{block.line}"
        assert block.language in RUN | SHOWN, f"{where}: a block of {block.language!r}"
        if block.language in {"toml", "json"}:
            assert block.title or block.request or block.not_run, f"{where}: nothing checks it"


def test_few_blocks_are_not_run() -> None:
    everything = [block for path in pages() for block in blocks(path) if block.language in RUN]
    left = [block for block in everything if block.not_run]
    assert len(left) <= 8, [f"{block.page}:{block.line}" for block in left]
    assert len(everything) > 4 * len(left)


@pytest.mark.slow
@pytest.mark.timeout(300)
# torch's own, of a page about TorchScript and exported programs.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_code_of_a_page_runs(
    path: Path, demo: Callable[[], Addresses], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    prepare(tmp_path)
    scope: dict[str, Any] = {
        "__name__": "page",
        "image": samples.photograph()[None],
        "values": samples.measurements()[None],
    }
    try:
        with ExitStack() as stack:
            served: dict[str, Addresses] = {}
            for block in blocks(path):
                if block.language in SHOWN or block.not_run or block.title == "server":
                    continue
                if block.server and block.server not in served:
                    own = partial(stack.enter_context, server(tmp_path / block.server))
                    served[block.server] = demo() if block.server == "demo" else own()
                run(block, served.get(block.server, USUAL), scope, tmp_path)
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


def prepare(folder: Path) -> None:
    """Write the files that readers are expected to have."""
    Image.fromarray(samples.photograph()).save(folder / "cat.png")
    Image.fromarray(samples.photograph()).save(folder / "cat.jpg")
    np.savetxt(folder / "row.csv", samples.measurements()[None], delimiter=",")
    # Behind the real one, where there is one.
    stand_in = folder / "bin" / "grpcurl"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{GRPCURL}" "$@"\n', encoding="utf-8")
    stand_in.chmod(0o755)


def run(block: Block, addresses: Addresses, scope: dict[str, Any], folder: Path) -> None:
    """Do with a block what a reader would do."""
    if block.title:
        (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.title).write_text(block.code, encoding="utf-8")
    elif block.request:
        send(block, addresses.grpc)
    elif block.language == "python":
        code = "\n" * (block.line - 1) + with_addresses(block.code, addresses)
        exec(compile(code, block.page, "exec", dont_inherit=True), scope)
    else:
        for line in block.code.splitlines():
            if line.startswith("$ "):
                shell(line[2:], addresses, folder)


def send(block: Block, address: str) -> None:
    """Send a request that a page shows as JSON."""
    message = getattr(explanation_service_pb2, f"{block.request}Request")()
    json_format.Parse(block.code, message)
    with grpc.insecure_channel(address) as channel:
        stub = explanation_service_pb2_grpc.ExplanationServiceStub(channel)
        assert getattr(stub, block.request)(message, timeout=60).ByteSize() > 0


def with_addresses(text: str, addresses: Addresses) -> str:
    """Return a text with the addresses of a server in place of the usual ones."""
    return text.replace(USUAL.grpc, addresses.grpc).replace(USUAL.http, addresses.http)


def shell(line: str, addresses: Addresses, folder: Path) -> str:
    """Run a line of a shell, with this interpreter's programs first; return what it prints."""
    # Not resolved: the interpreter of a virtual environment is a link.
    programs = [str(Path(sys.executable).parent), os.environ["PATH"], str(folder / "bin")]
    done = subprocess.run(
        ["bash", "-c", with_addresses(line, addresses)],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(programs), "ADCAPTUM_ADDRESS": addresses.grpc},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["README.md", "docs/how-to/http.md"])
def test_lines_with_curl_print_answers(
    page: str, demo: Callable[[], Addresses], tmp_path: Path
) -> None:
    prepare(tmp_path)
    lines = [
        line.removeprefix("$ ")
        for block in blocks(ROOT / page)
        if block.language == "console" and block.server == "demo"
        for line in block.code.splitlines()
        if line.startswith("$ curl ")
    ]
    assert lines
    for line in lines:
        printed = shell(line, demo(), tmp_path)
        assert printed
        for text in ("event: error", '"status": 4', '"status": 5', '{"error":'):
            assert text not in printed, f"{line}\n{printed[:500]}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["docs/examples/grpcurl.md", "proto/README.md"])
def test_lines_for_a_shell_print_explanations(
    page: str, demo: Callable[[], Addresses], tmp_path: Path
) -> None:
    prepare(tmp_path)
    lines = [
        line.removeprefix("$ ")
        for block in blocks(ROOT / page)
        if block.language == "console" and not block.not_run
        for line in block.code.splitlines()
        if line.startswith("$ ") and line.endswith("/Explain")
    ]
    assert len(lines) >= 2
    for line in lines:
        reply = json.loads(shell(line, demo(), tmp_path))
        for result in reply["results"]:
            assert "failure" not in result
            for explanation in result["explanations"]:
                (attribution,) = explanation["attributions"]
                values = attribution["values"]["values"]
                assert values
                assert all(isinstance(each, float | int) for each in values)
