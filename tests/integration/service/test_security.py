"""Who may call a server, in one process and with two workers behind a front."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from adcaptum.client import Client, PermissionDenied, Unauthenticated
from adcaptum.service.protocols.oip.wire.messages import message
from adcaptum.service.security.api_keys import NewKey, new_key
from adcaptum.v1 import (
    explanation_service_pb2 as pb,
    explanation_service_pb2_grpc as pb_grpc,
    model_pb2,
    repository_service_pb2 as repository_pb2,
    repository_service_pb2_grpc as repository_grpc,
)
from tests.faults.load import row
from tests.faults.running import running
from tests.integration.conftest import Server
from tests.integration.service.asking import details, reason
from tests.integration.service.conftest import Eventually
from tests.unit.service.security.issuing import Issuer, write_credentials

ROLES = {
    "predictor": "roles = ['predict:good']",
    "explainer": "roles = ['explain']",
    "admin": "roles = ['admin', 'metrics']",
    "limited": "roles = ['explain'], row_seconds = 1e-7",
    "wasteful": "roles = ['explain'], row_seconds = 1e-7",
    "narrow": "roles = ['explain'], max_rows = 60",
    "gateway": "roles = ['predict'], proxy = true",
}

pytestmark = pytest.mark.alone


class Guarded:
    """A server with credentials.

    Attributes:
        server: The server.
        keys: The keys by their holders.
        issuer: The issuer of tokens.
        folder: The folder of the credentials.
        workers: The number of its workers; None: one process does everything.
    """

    def __init__(self, folder: Path, workers: int | None) -> None:
        self.folder = folder
        self.workers = workers
        self.keys: Mapping[str, NewKey] = {name: new_key() for name in ROLES}
        self.issuer = Issuer()
        self.server: Server
        self.path = write_credentials(folder, self.issuer, self.lines())

    def lines(self, *names: str) -> str:
        return "\n".join(
            f"{name} = {{ key = '{self.keys[name].stored}', {ROLES[name]} }}"
            for name in names or ROLES
        )

    def metadata(self, name: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.keys[name].key}"),)


@pytest.fixture(scope="module", params=[None, 2], ids=["one process", "two workers"])
def guarded(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    found = Guarded(tmp_path_factory.mktemp("credentials"), request.param)
    options = ["--credentials", str(found.path), "--audit_log", str(found.folder / "audit.jsonl")]
    with running(*options, workers=request.param) as server:
        found.server = server
        yield found


@pytest.fixture
def channel(guarded: Guarded) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(guarded.server.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> pb_grpc.ExplanationServiceStub:
    return pb_grpc.ExplanationServiceStub(channel)


def predict(model: str = "good") -> pb.PredictRequest:
    return pb.PredictRequest(model=model_pb2.ModelRef(name=model), inputs=[row(0)])


def refused(ask: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        ask()
    return raised.value.code(), reason(raised.value)


def test_nobody_without_credentials_gets_an_answer(
    guarded: Guarded, stub: pb_grpc.ExplanationServiceStub
) -> None:
    missing = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
    assert refused(lambda: stub.Predict(predict())) == missing
    assert refused(lambda: stub.ListModels(pb.ListModelsRequest())) == missing
    stream = pb.ExplainStreamRequest(explain=pb.ExplainRequest(model=predict().model))
    assert refused(lambda: list(stub.ExplainStream(stream))) == missing
    # What they send is not even looked at.
    with grpc.insecure_channel(guarded.server.address) as channel:
        raw: Any = channel.unary_unary("/adcaptum.v1.ExplanationService/Predict")
        assert refused(lambda: raw(b"\xff\xff")) == missing


def test_roles_are_for_calls_and_models(
    guarded: Guarded, stub: pb_grpc.ExplanationServiceStub
) -> None:
    denied = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    predictor, explainer = guarded.metadata("predictor"), guarded.metadata("explainer")
    question = pb.ExplainRequest(model=predict().model, inputs=[row(0)])
    assert stub.Predict(predict(), metadata=predictor).model.name == "good"
    assert refused(lambda: stub.Predict(predict("bad"), metadata=predictor)) == denied
    assert refused(lambda: stub.Predict(predict("none"), metadata=predictor)) == denied
    assert refused(lambda: stub.Explain(question, metadata=predictor)) == denied
    assert stub.Explain(question, metadata=explainer).model.name == "good"
    events = stub.ExplainStream(pb.ExplainStreamRequest(explain=question), metadata=explainer)
    assert [each.WhichOneof("event") for each in events][-1] == "result"
    assert refused(lambda: stub.Predict(predict(), metadata=explainer)) == denied
    listed = stub.ListModels(pb.ListModelsRequest(), metadata=predictor)
    assert [each.name for each in listed.models] == ["good"]
    listed = stub.ListModels(pb.ListModelsRequest(), metadata=explainer)
    assert [each.name for each in listed.models] == ["bad", "good"]


def test_a_second_name_in_the_bytes_opens_no_other_model(
    guarded: Guarded, channel: grpc.Channel
) -> None:
    # Decoding merges both: the second name counts.
    second = pb.PredictRequest(model=model_pb2.ModelRef(name="bad"))
    raw = predict().SerializeToString() + second.SerializeToString()
    call: Any = channel.unary_unary("/adcaptum.v1.ExplanationService/Predict")
    found = refused(lambda: call(raw, metadata=guarded.metadata("predictor")))
    assert found == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")


def test_the_open_inference_protocol_takes_the_same_credentials(
    guarded: Guarded, channel: grpc.Channel
) -> None:
    def ask(method: str, kind: str, holder: str = "", **fields: Any) -> Any:
        call: Any = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            response_deserializer=message(f"{kind}Response").FromString,
        )
        metadata = guarded.metadata(holder) if holder else None
        return call(message(f"{kind}Request")(**fields).SerializeToString(), metadata=metadata)

    unknown = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")
    assert ask("ServerLive", "ServerLive").live
    assert refused(lambda: ask("ServerMetadata", "ServerMetadata")) == unknown
    assert refused(lambda: ask("ModelInfer", "ModelInfer", model_name="good")) == unknown
    index = ask("RepositoryIndex", "RepositoryIndex", "predictor")
    assert {each.name.partition(":")[0] for each in index.models} == {"good"}

    def infer(model: str, name: str, **options: Any) -> Any:
        tensor = row(0)
        inputs = [{"name": "x", "datatype": tensor.datatype, "shape": tensor.shape}]
        fields = {"inputs": inputs, "raw_input_contents": [tensor.data], **options}
        return ask("ModelInfer", "ModelInfer", name, model_name=model, **fields)

    metadata = ask("ModelMetadata", "ModelMetadata", "predictor", name="good")
    assert metadata.inputs[0].name == "x"
    assert infer("good", "predictor").outputs
    denied = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    assert refused(lambda: infer("bad", "predictor")) == denied
    assert refused(lambda: infer("good:explain:saliency", "predictor")) == denied
    assert infer("good:explain:saliency", "explainer").outputs
    by_option = {"explain": message("InferParameter")(string_param="saliency")}
    assert refused(lambda: infer("good", "predictor", parameters=by_option)) == denied
    assert infer("good", "explainer", parameters=by_option).outputs
    statistics = ask("ModelStatistics", "ModelStatistics", "predictor")
    assert {each.name for each in statistics.model_stats} == {"good", "good:explain:saliency"}


def test_tokens(guarded: Guarded, stub: pb_grpc.ExplanationServiceStub) -> None:
    def ask(**claims: Any) -> pb.PredictResponse:
        token = guarded.issuer.token(**{"roles": ["predict:good"], **claims})
        answer: pb.PredictResponse = stub.Predict(
            predict(), metadata=(("authorization", f"Bearer {token}"),)
        )
        return answer

    assert ask().model.name == "good"
    now = int(time.time())
    invalid = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")
    assert refused(lambda: ask(exp=now - 60)) == invalid
    assert refused(lambda: ask(nbf=now + 60)) == invalid
    assert refused(lambda: ask(aud="elsewhere")) == invalid
    denied = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    assert refused(lambda: ask(roles=["read"])) == denied


def test_administrative_calls_take_the_role(guarded: Guarded, channel: grpc.Channel) -> None:
    stub = repository_grpc.RepositoryServiceStub(channel)
    request = repository_pb2.ListWorkersRequest()
    denied = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    for name in ("predictor", "explainer", "gateway"):
        metadata = guarded.metadata(name)
        for call in (
            partial(stub.ListWorkers, repository_pb2.ListWorkersRequest()),
            partial(stub.RestartWorkers, repository_pb2.RestartWorkersRequest()),
        ):
            assert refused(partial(call, metadata=metadata)) == denied
    assert stub.ListWorkers(request, metadata=guarded.metadata("admin")).workers


def test_reflection_and_lists_are_for_callers_and_health_for_everybody(
    guarded: Guarded, channel: grpc.Channel
) -> None:
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    unknown = grpc.StatusCode.UNAUTHENTICATED
    assert refused(lambda: list(reflection.ServerReflectionInfo(iter(asked))))[0] is unknown
    metadata = guarded.metadata("predictor")
    (answer,) = reflection.ServerReflectionInfo(iter(asked), metadata=metadata)
    assert answer.list_services_response.service
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert health.Check(health_pb2.HealthCheckRequest()).status == serving
    assert refused(lambda: health.List(health_pb2.HealthListRequest()))[0] is unknown


def test_the_client_and_the_command_line_show_keys(guarded: Guarded) -> None:
    address, key = guarded.server.address, guarded.keys["explainer"].key
    with Client(address, token=key) as client:
        assert {each.name for each in client.models()} == {"good", "bad"}
        assert key not in repr(client) + repr(vars(client).get("_connection"))
    with Client(address) as client, pytest.raises(Unauthenticated) as unauthenticated:
        client.models()
    assert unauthenticated.value.reason == "CREDENTIALS_MISSING"
    with Client(address, token=key) as client, pytest.raises(PermissionDenied) as denied:
        client.workers()
    assert denied.value.metadata == {"role": "admin"}
    command = [sys.executable, "-m", "adcaptum.service.cli", "models", "--address", address]
    environment = {**os.environ, "ADCAPTUM_API_KEY": key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "good" in done.stdout
    failed = subprocess.run(
        [*command, "--json", "--api-key", "adc_wrong"], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert json.loads(failed.stderr)["error"]["reason"] == "CREDENTIALS_INVALID"
    assert "adc_wrong" not in failed.stderr


def test_a_withdrawn_key_ends_without_a_restart(
    guarded: Guarded, stub: pb_grpc.ExplanationServiceStub, eventually: Eventually
) -> None:
    metadata = guarded.metadata("gateway")
    stub.Predict(predict(), metadata=metadata)
    whole = guarded.path.read_text()
    guarded.path.write_text(whole.replace(guarded.lines("gateway"), ""))
    ends: list[grpc.StatusCode] = []

    def is_refused() -> bool:
        try:
            stub.Predict(predict(), metadata=metadata)
        except grpc.RpcError as error:
            ends.append(error.code())
        return bool(ends)

    eventually(is_refused)
    assert ends == [grpc.StatusCode.UNAUTHENTICATED]
    guarded.path.write_text(whole)


def test_a_flood_of_bad_keys_is_counted_and_others_are_served(
    guarded: Guarded, stub: pb_grpc.ExplanationServiceStub
) -> None:
    bad = (("authorization", f"Bearer {new_key().key}"),)
    lines = len(guarded.server.lines)
    asked = [stub.Predict.future(predict(), metadata=bad) for _ in range(1000)]
    assert stub.Predict(predict(), metadata=guarded.metadata("predictor")).model.name == "good"
    assert {each.code() for each in asked} == {grpc.StatusCode.UNAUTHENTICATED}
    request = Request(
        f"http://{guarded.server.http_address}/metrics", headers=dict(guarded.metadata("admin"))
    )
    with urlopen(request, timeout=20) as reply:
        text = reply.read().decode()
    counts = [line for line in text.splitlines() if "security_failures_total{" in line]
    (found,) = (line for line in counts if 'reason="key"' in line)
    assert float(found.rpartition(" ")[2]) >= 1000
    # Reasons are a few words, whatever is sent; the log has a line a second at most.
    assert len(counts) < 15
    assert len(guarded.server.lines) - lines < 30


def test_no_key_is_in_the_log(guarded: Guarded, stub: pb_grpc.ExplanationServiceStub) -> None:
    refused(lambda: stub.Predict(predict(), metadata=(("authorization", "Bearer adc_a_b"),)))
    guarded.server.wait_for("calls refused")
    log = json.dumps(guarded.server.lines)
    assert "adc_a_b" not in log
    assert not any(each.key.split("_", 2)[2] in log for each in guarded.keys.values())


def test_metrics_take_a_role_and_probes_none(guarded: Guarded) -> None:
    root = f"http://{guarded.server.http_address}"

    def status(path: str, name: str = "") -> int:
        headers = dict(guarded.metadata(name)) if name else {}
        try:
            with urlopen(Request(root + path, headers=headers), timeout=20) as reply:
                assert path != "/metrics" or "adcaptum_security_failures_total" in str(reply.read())
                return int(reply.status)
        except HTTPError as error:
            error.close()
            return error.code

    assert [status("/healthz"), status("/readyz"), status("/metrics")] == [200, 200, 401]
    assert [status("/metrics", "explainer"), status("/metrics", "admin")] == [403, 200]


def test_http_takes_the_same_credentials(guarded: Guarded) -> None:
    def ask(model: str, name: str = "", rpc: str = "predict") -> tuple[int, dict[str, Any]]:
        url = f"http://{guarded.server.http_address}/api/v1/models/{model}:{rpc}"
        body = {"inputs": [{"values": np.frombuffer(row(0).data, "f4").reshape(1, -1).tolist()}]}
        headers = {"content-type": "application/json"}
        headers |= dict(guarded.metadata(name)) if name else {}
        request = Request(url, json.dumps(body).encode(), headers)
        try:
            with urlopen(request, timeout=20) as reply:
                return int(reply.status), json.load(reply)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    status, problem = ask("good")
    assert (status, problem["reason"]) == (401, "CREDENTIALS_MISSING")
    status, problem = ask("bad", "predictor")
    assert (status, problem["reason"]) == (403, "ROLE_MISSING")
    assert ask("good", "predictor", "explain")[0] == 403
    assert ask("good", "predictor")[0] == 200
    assert ask("good", "explainer", "explain")[0] == 200


def test_a_caller_has_what_its_quota_gives(
    guarded: Guarded, stub: pb_grpc.ExplanationServiceStub
) -> None:
    def ask(seed: int) -> pb.ExplainResponse:
        answer: pb.ExplainResponse = stub.Explain(
            pb.ExplainRequest(model=predict().model, inputs=[row(seed)]),
            metadata=guarded.metadata("limited"),
        )
        return answer

    ask(70)
    with pytest.raises(grpc.RpcError) as over:
        ask(71)
    found = details(over.value)
    assert over.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found["ErrorInfo"].reason == "QUOTA"
    assert found["QuotaFailure"].violations[0].subject == "caller_row_seconds"
    assert found["RetryInfo"].retry_delay.ToNanoseconds() > 0


def test_rows_that_ran_for_a_caller_who_left_are_charged(
    guarded: Guarded, stub: pb_grpc.ExplanationServiceStub
) -> None:
    if guarded.workers is not None:
        pytest.skip("workers tell fronts the price of answers only")
    question = pb.ExplainRequest(model=predict().model, inputs=[row(90)])
    question.spec.methods.add(name="kernel_shap").params["n_samples"].number_value = 90_000
    left = stub.Explain.future(question, metadata=guarded.metadata("wasteful"), timeout=60)
    time.sleep(0.3)
    left.cancel()
    time.sleep(0.5)
    other = pb.ExplainRequest(model=predict().model, inputs=[row(91)])
    found = refused(lambda: stub.Explain(other, metadata=guarded.metadata("wasteful")))
    assert found == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA")


def test_a_caller_has_as_many_rows_under_way_as_it_may(
    guarded: Guarded, stub: pb_grpc.ExplanationServiceStub
) -> None:
    def ask(name: str, seed: int) -> Any:
        question = pb.ExplainRequest(model=predict().model, inputs=[row(seed)])
        question.spec.methods.add(name="kernel_shap").params["n_samples"].number_value = 50_000
        question.spec.deterministic = True  # Such requests are not explained jointly.
        return stub.Explain.future(question, metadata=guarded.metadata(name), timeout=60)

    # Its first request may be as large as any; of more there is no room.
    asked = [ask("narrow", seed) for seed in range(80, 88)]
    codes = {each.code() for each in asked}
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    limits = {
        details(each)["ErrorInfo"].metadata["limit"]
        for each in asked
        if each.code() is not grpc.StatusCode.OK
    }
    assert limits == {"caller_rows"}


def test_administrative_calls_are_noted(guarded: Guarded, channel: grpc.Channel) -> None:
    stub = repository_grpc.RepositoryServiceStub(channel)
    restart = repository_pb2.RestartWorkersRequest(workers=["nobody"])
    for name in ("explainer", "admin"):
        with pytest.raises(grpc.RpcError):
            stub.RestartWorkers(restart, metadata=guarded.metadata(name))
    text = (guarded.folder / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    noted = {line["caller"]: line for line in lines}
    assert noted["key:admin"]["request"] == {"workers": ["nobody"]}
    assert noted["key:admin"]["result"] in {"FAILED_PRECONDITION", "INVALID_ARGUMENT"}
    assert any(line["result"] == "PERMISSION_DENIED" for line in lines)
