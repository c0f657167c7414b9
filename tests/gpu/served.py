"""The whole server on the device: latencies idle and beside explanations, and rates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.request import urlopen

import numpy as np
import torch
from torch import Tensor

from adcaptum.service.models import loading
from adcaptum.service.models.repository import stored_models
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2 as pb, method_pb2, model_pb2
from tests.benchmarks.load import Load, Served
from tests.benchmarks.processes import finish_load, model_repository, start_load
from tests.gpu.subjects import DEVICE, ON_GPU, tell, timed

SECONDS: Final = 4.0 if ON_GPU else 1.5
SHAPES: Final = {"cells": (1, 30), "digits": (1, 1, 8, 8), "cnn": (1, 3, 32, 32)}
SIZES: Final = (64, 256, 1024) if ON_GPU else (8, 32)
STEPS: Final = 50
"""The rows that integrated gradients take by default."""

PATH: Final = "/adcaptum.v1.ExplanationService/"


def main() -> int:
    """Prints them."""
    with model_repository() as repository:
        ceilings = {model: _ceiling(repository, model) for model in SHAPES}
        return _measure(repository, ceilings)


def _measure(repository: Path, ceilings: dict[str, float]) -> int:
    with _server(repository) as (address, http):
        for model in SHAPES:
            rows = 0.0
            for method, clients in (("saliency", 1), ("saliency", 32), ("integrated_gradients", 8)):
                load = _load(address, "Explain", model, clients, method)
                served = finish_load(start_load(load))
                _tell(model, method, clients, served)
                rows = STEPS * served.rate  # of the last one
            tell(
                model=model,
                integrated_gradients_rows_per_second=round(rows),
                ceiling_rows_per_second=round(ceilings[model]),
                of_the_ceiling=round(rows / ceilings[model], 3),
            )
            _tell(model, "predict", 1, finish_load(start_load(_load(address, "Predict", model, 1))))
            beside = start_load(_load(address, "Explain", model, 8, "integrated_gradients"))
            _tell(
                model,
                "predict beside 8 explainers",
                1,
                finish_load(start_load(_load(address, "Predict", model, 1))),
            )
            finish_load(beside)
        with urlopen(f"http://{http}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        wanted = ("device_", "event_loop_lag", "batch_capacity")
        for line in lines:
            if any(word in line for word in wanted) and not line.startswith("#"):
                tell(metric=line)
    return 0


def _ceiling(repository: Path, name: str) -> float:
    """Returns the rows per second of bare gradients on the device, in the best of some batches."""
    stored = stored_models.open_model(repository / name)
    version = stored.versions[stored.default_version]
    module = loading.load(stored, version, DEVICE, ("tests.benchmarks",)).module
    best = 0.0
    for size in SIZES:
        rows = torch.randn(size, *SHAPES[name][1:], device=DEVICE)

        def gradient(rows: Tensor = rows) -> None:
            x = rows.detach().requires_grad_()
            torch.autograd.grad(module(x)[:, 0].sum(), x)

        best = max(best, size / timed(gradient, seconds=0.2))
    return best


@contextmanager
def _server(repository: Path) -> Iterator[tuple[str, str]]:
    command = [
        sys.executable, "-m", "adcaptum.service.cli", "serve", str(repository), "--port", "0",
        "--http-port", "0", "--device", DEVICE.type,
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["ADCAPTUM_ALLOWED_PACKAGES"] = "tests.benchmarks"
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as process,
    ):
        assert process.stderr is not None
        reader = Thread(target=_copy, args=(process.stderr, log))
        try:
            for line in process.stderr:
                log.write(line)
                event: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
                if event.get("event") == "ready":
                    reader.start()
                    yield event["grpc"], event["http"]
                    break
            else:
                log.seek(0)
                raise RuntimeError(f"the server did not start:\n{log.read()[-3000:]}")
        finally:
            process.terminate()
            if reader.ident is not None:
                reader.join()
            log.seek(0)
            bad = [line for line in log if '"error"' in line or "Traceback" in line]
            for line in bad[:5]:
                print(line[:1500])


def _copy(source: Any, log: Any) -> None:
    log.writelines(source)


def _load(address: str, rpc: str, model: str, clients: int, method: str = "") -> Load:
    generator = np.random.default_rng(0)
    messages = []
    for _ in range(64):
        values = generator.random(SHAPES[model], dtype=np.float32)
        tensor: Any = {"datatype": "FP32", "shape": values.shape, "data": values.tobytes()}
        about: Any = {"model": model_pb2.ModelRef(name=model), "inputs": [tensor]}
        if rpc == "Predict":
            request: Any = pb.PredictRequest(**about)
        else:
            request = pb.ExplainRequest(
                **about,
                spec=explain_spec_pb2.ExplainSpec(methods=[method_pb2.MethodSpec(name=method)]),
                cache=pb.CACHE_POLICY_BYPASS,
            )
        messages.append(b64encode(request.SerializeToString()).decode())
    return Load(address, PATH + rpc, messages, clients, 1.0, SECONDS)


def _tell(model: str, what: str, clients: int, served: Served) -> None:
    tell(
        model=model,
        what=what,
        clients=clients,
        per_second=round(served.rate, 1),
        p50_ms=round(1e3 * served.quantile(0.5), 2),
        p99_ms=round(1e3 * served.quantile(0.99), 2),
    )


if __name__ == "__main__":
    sys.exit(main())
