"""Models that would stop a server, lie about themselves or run what they should not."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copytree
from types import MappingProxyType

import grpc
import numpy as np
import pytest
import safetensors.torch
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adcaptum.v1 import explanation_service_pb2 as pb, model_pb2
from adcaptum.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from tests.integration.conftest import Server, Start
from tests.integration.service.asking import (
    cells,
    details,
    explain,
    explanations,
    index,
    method,
    predict,
    reason as why,
)
from tests.integration.service.conftest import Eventually

pytestmark = pytest.mark.alone

LINEAR = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, outputs=2):
        super().__init__()
        self.linear = nn.Linear(30, outputs)
    def forward(self, x):
        return self.linear(x)
"""

CODE: Mapping[str, str] = MappingProxyType(
    {
        "exits": "import sys\ndef build():\n    sys.exit(3)\n",
        "exits_on_import": "raise SystemExit(4)\n",
        "interrupted": "def build():\n    raise KeyboardInterrupt\n",
        "sleeps": "import time\ndef build():\n    time.sleep(3600)\n",
        "sleeps_on_import": "import time\ntime.sleep(3600)\n",
        "sleeps_in_forward": LINEAR.replace(
            "return self.linear(x)", "import time; time.sleep(3600)"
        ),
        "nan_weights": LINEAR,
        "nan_outputs": LINEAR.replace("self.linear(x)", "self.linear(x) / 0 * 0"),
        "too_wide": LINEAR.replace("outputs=2", "outputs=3"),
        "fails_on_gradients": LINEAR.replace(
            "return self.linear(x)",
            "if x.requires_grad and len(x) == 1 and x.shape[0] < 2 and self.tried > 3:\n"
            "            raise ArithmeticError('/secret/place/of/mine.py is at fault')\n"
            "        self.tried += x.requires_grad\n"
            "        return self.linear(x)\n"
            "    tried = 0",
        ),
        "fails_at_its_baseline": LINEAR.replace(
            "return self.linear(x)",
            "if (x == 0).all(1).any(): raise ValueError('an empty row')\n"
            "        return self.linear(x)",
        ),
        "returns_text": "def build():\n    return 'a model'\n",
        "says_it_returns_text": "def build() -> str:\n    open('/tmp/was-run', 'w')\n",
        "scripted": LINEAR + "\ndef build():\n    return torch.jit.script(Net())\n",
        "needs_acme": "import acme\n",
        "raises_with_paths": "def build():\n    open('/no/such/folder/weights.bin')\n",
    }
)
FACTORIES = MappingProxyType({"runs_a_command": "os:system", "borrows": "net:system"})

DECLARATION = """
factory = "{factory}"
{arguments}
[[inputs]]
name = "x"
kind = "tensor"
shape = [-1, 30]
[[outputs]]
name = "y"
shape = {shape}
kind = "{kind}"
"""


def add(
    repository: Path,
    name: str,
    code: str,
    *,
    factory: str = "net:Net",
    arguments: str = "",
    shape: str = "[-1, 2]",
    kind: str = "logits",
    rows: int = 2,
    broken: bool = False,
) -> Path:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version.parent / "code").mkdir()
    (version.parent / "code" / "net.py").write_text(code)
    declared = DECLARATION.format(factory=factory, arguments=arguments, shape=shape, kind=kind)
    (version.parent / "model.toml").write_text(declared)
    weight = torch.linspace(-1, 1, rows * 30).view(rows, 30)
    if broken:
        weight[0, :7] = torch.nan
    safetensors.torch.save_file(
        {"linear.weight": weight, "linear.bias": torch.ones(rows)}, version / "weights.safetensors"
    )
    return version.parent


@pytest.fixture(scope="module")
def hostile(start_server: Start, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server on a repository of hostile models and `cells`."""
    repository = tmp_path_factory.mktemp("hostile")
    copytree(models / "cells", repository / "cells")
    for name, code in CODE.items():
        factory = "net:Net" if "class Net" in code and "def build" not in code else "net:build"
        wide = name == "too_wide"
        add(
            repository,
            name,
            code,
            factory=factory,
            rows=3 if wide else 2,
            broken=name == "nan_weights",
        )
    for name, factory in FACTORIES.items():
        add(
            repository,
            name,
            "from os import system\n",
            factory=factory,
            arguments=f'[arguments]\ncommand = "touch {repository / "was-run"}"',
        )
    add(
        repository,
        "regressor",
        LINEAR.replace("self.linear(x)", "self.linear(x)[:, 0]"),
        shape="[-1]",
        kind="values",
    )
    return start_server(
        repository,
        ready=True,
        ADCAPTUM_LOAD_TIMEOUT_SECONDS="15",
        ADCAPTUM_READY_AFTER_SECONDS="1",
    )


@pytest.fixture(scope="module")
def stub(hostile: Server) -> Iterator[ExplanationServiceStub]:
    with grpc.insecure_channel(hostile.address) as channel:
        yield ExplanationServiceStub(channel)


def check_that_it_does_not_serve(
    hostile: Server, stub: ExplanationServiceStub, eventually: Eventually, name: str, reason: str
) -> None:
    line = hostile.wait_for("a model does not load", model=name)
    request = pb.GetModelRequest(model=model_pb2.ModelRef(name=name))
    # Of several workers, one may still load what another has given up.
    eventually(
        lambda: stub.GetModel(request).model.versions[0].state != model_pb2.MODEL_STATE_LOADING
    )
    (version,) = stub.GetModel(request).model.versions
    assert version.state == model_pb2.MODEL_STATE_FAILED
    assert reason in version.reason
    assert line["reason"] == version.reason
    assert "/tmp" not in version.reason
    assert "/secret" not in version.reason
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict(cells(), name))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert why(caught.value) == "MODEL_FAILED"
    assert "RetryInfo" not in details(caught.value)


def test_the_server_is_ready_while_hostile_models_still_load(
    hostile: Server, stub: ExplanationServiceStub
) -> None:
    told = hostile.wait_for("ready")["models"]
    assert told["cells"] == "ready"
    assert told["sleeps"] == "loading"
    assert stub.Predict(predict(cells())).outputs
    asked = explain(cells(), method("saliency"), target=index(0))
    assert explanations(stub.Explain(asked))
    with grpc.insecure_channel(hostile.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "cells"):
            reply = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("exits", "SystemExit was raised: 3"),
        ("exits_on_import", "SystemExit was raised: 4"),
        ("interrupted", "KeyboardInterrupt was raised"),
        ("nan_weights", "1/weights.safetensors: 'linear.weight': 7 of 60 numbers are not finite"),
        ("nan_outputs", "output 'y' is NaN for 4 of 4 examples"),
        ("too_wide", "output 'y' has shape [-1, 3]; model.toml declares [-1, 2]"),
        ("fails_on_gradients", "ArithmeticError: mine.py is at fault"),
        (
            "fails_at_its_baseline",
            (
                "explaining its first example by the preset 'default' fails: "
                "ValueError: an empty row"
            ),
        ),
        ("returns_text", "returned str, not an nn.Module"),
        ("says_it_returns_text", "returns str by its annotation"),
        ("scripted", "returned a TorchScript module"),
        ("needs_acme", "No module named 'acme'. Modules of the model belong into needs_acme/code/"),
        ("raises_with_paths", "FileNotFoundError: [Errno 2] No such file or directory: 'weights"),
        ("runs_a_command", "there is no module 'os' in runs_a_command/code/"),
        ("borrows", "is a builtin_function_or_method"),
    ],
)
def test_a_hostile_model_does_not_serve_and_says_why(
    hostile: Server, stub: ExplanationServiceStub, eventually: Eventually, name: str, reason: str
) -> None:
    check_that_it_does_not_serve(hostile, stub, eventually, name, reason)


def test_a_declaration_alone_runs_nothing(hostile: Server, stub: ExplanationServiceStub) -> None:
    for name in FACTORIES:
        hostile.wait_for("a model does not load", model=name)
    reply = stub.GetModel(pb.GetModelRequest(model=model_pb2.ModelRef(name="runs_a_command")))
    assert not list(Path(hostile.process.args[4]).glob("was-run"))  # type: ignore[index,arg-type]
    assert "allowed_packages" in reply.model.versions[0].reason


def test_an_output_without_further_dimensions_is_predicted_and_explained(
    hostile: Server, stub: ExplanationServiceStub
) -> None:
    hostile.wait_for("loaded", model="regressor")
    rows = cells(3)
    assert list(stub.Predict(predict(rows, "regressor")).outputs[0].shape) == [3]
    for name in ("saliency", "integrated_gradients", "feature_ablation"):
        reply = stub.Explain(explain(rows, method(name), model="regressor"))
        assert len(explanations(reply)) == 3
    weight = np.linspace(-1, 1, 60, dtype=np.float32)[:30]
    asked = explain(rows, method("input_x_gradient"), model="regressor")
    values = explanations(stub.Explain(asked))[0].attributions[0].values
    np.testing.assert_allclose(np.frombuffer(values.data, np.float32), rows[0] * weight, rtol=1e-5)


def test_a_server_whose_models_hang_ends_on_sigterm(start_server: Start, tmp_path: Path) -> None:
    for name in ("sleeps", "sleeps_in_forward"):
        add(tmp_path, name, CODE[name], factory="net:Net" if "Net" in CODE[name] else "net:build")
    server = start_server(tmp_path, ready=False)
    assert server.stop(30) == 0


def test_a_reason_why_gradients_are_missing_names_no_folder(
    start_server: Start, tmp_path: Path
) -> None:
    code = LINEAR.replace(
        "return self.linear(x)",
        "if x.requires_grad: raise RuntimeError('/secret/place/net.py has none')\n"
        "        return self.linear(x)",
    )
    add(tmp_path, "no_gradients", code)
    server = start_server(tmp_path)
    with grpc.insecure_channel(server.address) as channel:
        request = pb.ListMethodsRequest(model=model_pb2.ModelRef(name="no_gradients"))
        methods = ExplanationServiceStub(channel).ListMethods(request).methods
    (saliency,) = [each for each in methods if each.name == "saliency"]
    assert not saliency.availability.available
    assert "RuntimeError" in saliency.availability.reason
    assert "has none" not in saliency.availability.reason
    assert "/secret" not in saliency.availability.reason


def test_modules_of_the_same_name_in_two_models_are_two_modules(
    start_server: Start, tmp_path: Path
) -> None:
    for name, factor in (("double", 2), ("triple", 3)):
        folder = add(
            tmp_path,
            name,
            LINEAR.replace("self.linear(x)", "factors.FACTOR * self.linear(x) + lazily()")
            + "\nimport factors\n\n"
            + "def lazily():\n    from parts.zero import ZERO\n    return ZERO\n",
        )
        (folder / "code" / "factors.py").write_text(f"FACTOR = {factor}\n")
        (folder / "code" / "parts").mkdir()
        (folder / "code" / "parts" / "__init__.py").touch()
        (folder / "code" / "parts" / "zero.py").write_text("from .one import ONE\nZERO = ONE - 1\n")
        (folder / "code" / "parts" / "one.py").write_text("ONE = 1\n")
    server = start_server(tmp_path)
    with grpc.insecure_channel(server.address) as channel:
        stub = ExplanationServiceStub(channel)
        double, triple = (
            np.frombuffer(stub.Predict(predict(cells(), name)).outputs[0].data, np.float32)
            for name in ("double", "triple")
        )
    np.testing.assert_allclose(3 * double, 2 * triple, rtol=1e-5)
    assert not list(tmp_path.rglob("__pycache__"))


# Last, because these take their time while the other tests run.
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sleeps", "did not load within 15 s (load_timeout_seconds): building and loading"),
        ("sleeps_on_import", "did not load within 15 s"),
        ("sleeps_in_forward", "did not load within 15 s (load_timeout_seconds): measuring"),
    ],
)
def test_a_model_that_sleeps_does_not_serve_and_says_why(
    hostile: Server, stub: ExplanationServiceStub, eventually: Eventually, name: str, reason: str
) -> None:
    check_that_it_does_not_serve(hostile, stub, eventually, name, reason)
