"""The commands, from their words to what they print."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2  # type: ignore[import-untyped] # no marker

from adcaptum.client.codec.replies import decode_explanations
from adcaptum.v1 import explain_spec_pb2, explanation_service_pb2
from tests.unit.cli.conftest import Run
from tests.unit.client import canned
from tests.unit.client.canned_server import CannedServicer, failure


def asked(servicer: CannedServicer) -> explanation_service_pb2.ExplainRequest:
    """The request for an explanation that the server saw."""
    for _, request in servicer.asked:
        if isinstance(request, explanation_service_pb2.ExplainRequest):
            return request
    raise AssertionError("nobody asked why")


def test_predict_prints_the_labels(run: Run) -> None:
    output = run("predict", "cells", "--values", "1,2,3")
    assert output.code == 0
    assert "malignant" in output.out
    assert "95.0%" in output.out


def test_predict_prints_json(run: Run) -> None:
    result = json.loads(run("predict", "cells", "--values", "1,2,3", "--json").out)
    assert result["predictions"][0]["labels"][0]["label"] == "malignant"
    assert result["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [1, 2], "values": [[2, -1]]}
    ]


def test_explain_prints_bars_with_the_names_of_features(run: Run) -> None:
    output = run("explain", "cells", "--values", "1,2,3")
    assert output.code == 0
    assert [line.split()[0] for line in output.out.splitlines()[1:4]] == [
        "texture",
        "radius",
        "area",
    ]
    assert "51 rows" in output.out


def test_explain_prints_json(run: Run) -> None:
    result = json.loads(run("explain", "cells", "--values", "1,2,3", "--json").out)
    (method,) = result["results"]
    (explanation,) = method["explanations"]
    assert (explanation["example"], explanation["target"]) == (0, 0)
    assert explanation["attributions"][0]["values"]["values"] == [0.5, -2.0, 0.1]
    assert explanation["error"] == {"completeness": 0.003}
    assert method["method"] == {"name": "integrated_gradients", "params": {"n_steps": 50}}
    assert method["stop_reason"] == "STOP_REASON_COMPLETED"


def test_the_json_of_an_explanation_is_its_message(run: Run, servicer: CannedServicer) -> None:
    printed = run("explain", "cells", "--values", "1,2,3", "--json").out
    message = json_format.Parse(printed, explanation_service_pb2.ExplainResponse())
    given, read = decode_explanations(servicer.explanations), decode_explanations(message)
    assert (read.model, read.seed, read.cache) == (given.model, given.seed, given.cache)
    for one, other in zip(given, read, strict=True):
        assert (one.method, one.error, one.label) == (other.method, other.error, other.label)
        for name, attribution in one.attributions.items():
            np.testing.assert_array_equal(attribution.values, other.attributions[name].values)


def test_explain_sends_all_that_it_is_told(run: Run, servicer: CannedServicer) -> None:
    words = "--target 1 --target benign --method smooth_grad --param of=saliency"
    words += " --param n_samples=5 --preset quick --cache bypass --priority batch --deterministic"
    words += " --baseline mean --layer hidden --max-rows 99 --on-deadline partial --tolerance 0.1"
    words += " --max-features 3 --channel-reduction sum --seed 4 --alias stable"
    words += " --layer-baseline 0.5 --neuron conv@input:1,2..4 --through hidden:3"
    assert run("explain", "cells", "--values", "1,2,3", *words.split()).code == 0
    request = asked(servicer)
    spec = request.spec
    first, second, third = spec.targets
    assert (list(first.index.values), second.label) == ([1], "benign")
    assert (third.neuron.layer, third.neuron.at_input) == ("conv", True)
    assert (list(third.neuron.index), list(third.neuron.end)) == ([1, 2], [2, 4])
    params = spec.methods[0].params
    assert params["of"].struct_value.fields["name"].string_value == "saliency"
    assert params["n_samples"].number_value == 5
    assert spec.baselines[0].named == "mean"
    assert spec.site.layer == "hidden"
    assert spec.site.baselines[0].constant == 0.5
    assert (spec.through.layer, list(spec.through.index)) == ("hidden", [3])
    assert (spec.budget.max_rows, spec.budget.tolerance) == (99, 0.1)
    assert spec.output.max_features == 3
    assert spec.output.channel_reduction == explain_spec_pb2.CHANNEL_REDUCTION_SUM
    assert (spec.seed, spec.deterministic) == (4, True)
    assert (request.preset, request.model.alias) == ("quick", "stable")
    assert request.on_deadline == explanation_service_pb2.ON_DEADLINE_PARTIAL
    assert request.priority == explanation_service_pb2.PRIORITY_BATCH
    assert request.cache == explanation_service_pb2.CACHE_POLICY_BYPASS


def test_a_preset_alone_is_sent_as_it_is(run: Run, servicer: CannedServicer) -> None:
    assert run("explain", "cells", "--values", "1,2,3", "--preset", "quick", "--json").code == 0
    assert (asked(servicer).preset, asked(servicer).HasField("spec")) == ("quick", False)


def test_a_drawing_keeps_the_output_of_the_preset(run: Run, servicer: CannedServicer) -> None:
    assert run("explain", "cells", "--values", "1,2,3", "--preset", "quick").code == 0
    output = asked(servicer).spec.output
    assert output.return_inputs
    assert output.channel_reduction == explain_spec_pb2.CHANNEL_REDUCTION_SUM
    assert output.max_features == 2


def test_an_option_of_the_output_replaces_that_of_the_preset(
    run: Run, servicer: CannedServicer
) -> None:
    assert run("explain", "cells", "--values", "1,2,3", "--max-features", "3").code == 0
    output = asked(servicer).spec.output
    assert (output.return_inputs, output.max_features) == (True, 3)
    assert output.channel_reduction == explain_spec_pb2.CHANNEL_REDUCTION_UNSPECIFIED


def test_a_preset_that_there_is_not_is_the_servers_to_refuse(
    run: Run, servicer: CannedServicer
) -> None:
    assert run("explain", "cells", "--values", "1,2,3", "--preset", "nice").code == 0
    assert asked(servicer).preset == "nice"


def test_explain_shows_what_the_model_says(run: Run, servicer: CannedServicer) -> None:
    servicer.explanations = canned.explained()
    servicer.explanations.predictions.extend(canned.prediction().predictions[:1])
    best, second = canned.prediction().predictions[0].labels[:2]
    output = run("explain", "cells", "--values", "1,2,3", "--max-labels", "2").out
    sent = asked(servicer).spec.output
    assert (sent.return_predictions, sent.max_labels) == (True, 2)
    assert output.index(best.label) < output.index(second.label)
    assert f"predicted \u201c{best.label}\u201d {best.probability:.1%}" in output


def test_explain_tells_a_method_that_failed(run: Run, servicer: CannedServicer) -> None:
    servicer.explanations.results.add().CopyFrom(canned.failed())
    output = run("explain", "cells", "--values", "1,2,3")
    assert output.code == 0
    assert "deep_lift failed: The model uses a module twice." in output.out


def test_explain_streams_to_the_same_answer(run: Run, servicer: CannedServicer) -> None:
    output = run("explain", "cells", "--values", "1,2,3", "--stream", "--json")
    assert json.loads(output.out)["seed"] == "7"
    # The numbers are sent in the datatype that the model declares.
    assert servicer.rpcs[0] == "GetModel"
    assert servicer.rpcs.count("ExplainStream") == 1


def test_explain_draws_into_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    assert run("explain", "cells", "--values", "1,2,3", "--png", str(path)).code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(
    run: Run, servicer: CannedServicer, tmp_path: Path
) -> None:
    path = tmp_path / "nowhere" / "why.png"
    output = run("explain", "cells", "--values", "1,2,3", "--png", str(path))
    assert output.code == 2
    assert "is not a folder" in output.err
    # It would have been computed for nothing.
    assert "Explain" not in servicer.rpcs


def test_explain_shows_an_image(run: Run, servicer: CannedServicer, tmp_path: Path) -> None:
    servicer.explanations = canned.explained(canned.image())
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"\x89PNG")
    output = run("explain", "animals", "--image", str(picture))
    assert "========########" in output.out
    assert asked(servicer).inputs[0].data.endswith(b"\x89PNG")


def test_explain_shows_a_text(run: Run, servicer: CannedServicer) -> None:
    servicer.explanations = canned.explained(canned.text())
    assert "good(+1.5)" in run("explain", "reviews", "--text", "good film").out


def test_a_table_is_read_by_the_names_of_its_columns(
    run: Run, servicer: CannedServicer, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("id,area,texture,radius\n7,3,2,1\n8,6,5,4\n")
    assert run("explain", "cells", "--csv", str(table)).code == 0
    (tensor,) = asked(servicer).inputs
    rows = np.frombuffer(tensor.data, "<f4").reshape(tuple(tensor.shape))
    np.testing.assert_array_equal(rows, [[1, 2, 3], [4, 5, 6]])


def test_models_are_listed(run: Run) -> None:
    output = run("models")
    assert "Benign or malignant." in output.out
    assert "ready" in output.out


def test_in_a_pipe_each_model_is_one_line(run: Run) -> None:
    title, *rows = run("models", COLUMNS="").out.splitlines()
    assert title.startswith("model ")
    assert [row.split()[0] for row in rows] == ["cells"]
    assert len(run("models", COLUMNS="20").out.splitlines()) > 2


@pytest.mark.parametrize("option", ["--csv", "--npy", "--image"])
def test_a_file_that_is_not_there_is_told_once(run: Run, option: str) -> None:
    told = " ".join(run("explain", "cells", option, "nope.xyz").err.split())
    assert told.count("nope.xyz") == 1
    assert "No such file" in told


def test_models_are_listed_as_json(run: Run) -> None:
    (model,) = json.loads(run("models", "--json").out)["models"]
    assert model["versions"][0]["identity"]["digest"] == "ab12"


def test_a_model_is_described(run: Run) -> None:
    output = run("models", "cells")
    assert "layers.2 = hidden (Linear) [128]" in output.out
    assert "95.8%" in output.out


def test_a_model_is_described_as_json(run: Run) -> None:
    model = json.loads(run("models", "cells", "--json").out)["model"]
    assert model["versions"][0]["state"] == "MODEL_STATE_READY"
    assert model["versions"][0]["presets"][0]["spec"]["methods"] == [
        {"name": "integrated_gradients", "params": {"n_steps": 50}}
    ]


def test_a_feature_mask_is_read_from_a_file(
    run: Run, servicer: CannedServicer, tmp_path: Path
) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.array([[0, 0, 1]]))
    assert run("explain", "cells", "--values", "1,2,3", "--feature-mask", str(path)).code == 0
    assert list(asked(servicer).spec.feature_masks[0].tensor.shape) == [1, 3]


def test_methods_are_listed(run: Run) -> None:
    output = run("methods", "cells")
    assert "n_steps=50" in output.out
    assert "not for this model: 30 features" in output.out


def test_methods_are_listed_in_groups(run: Run) -> None:
    lines = [line.rstrip() for line in run("methods").out.splitlines()]
    titles = [line for line in lines if line and not line.startswith((" ", "Parameters"))]
    names = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert titles == ["by gradients", "by evaluations only", "at a layer, which has to be named"]
    assert names == ["integrated_gradients", "shapley_values", "grad_cam"]


def test_a_method_is_described(run: Run) -> None:
    output = run("methods", "--about", "integrated_gradients")
    assert "integer, at least 1; by default 50" in output.out
    assert "Sundararajan" in output.out


def test_a_method_that_there_is_not_is_told(run: Run) -> None:
    output = run("methods", "--about", "saliencies")
    assert output.code == 2
    assert "saliencies" in output.err


def test_methods_are_listed_as_json(run: Run) -> None:
    methods = json.loads(run("methods", "--json").out)["methods"]
    assert methods[0]["parameters"][0]["minimum"] == 1


def test_an_error_is_one_line_with_what_is_wrong(run: Run, servicer: CannedServicer) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(
        field="seed", description="[red] is too large"
    )
    servicer.failures.append(
        failure(
            code_pb2.INVALID_ARGUMENT,
            "the request is wrong",
            error_details_pb2.BadRequest(field_violations=[violation]),
        )
    )
    output = run("models")
    assert (output.code, output.out) == (1, "")
    assert output.err == "error: the request is wrong; seed: [red] is too large\n"


def test_an_error_ends_with_its_reason(run: Run, servicer: CannedServicer) -> None:
    info = error_details_pb2.ErrorInfo(
        reason="MODEL_NOT_FOUND", domain="adcaptum", metadata={"nearest": "cells"}
    )
    servicer.failures += [failure(code_pb2.NOT_FOUND, "There is no model 'cels'.", info)] * 2
    assert run("models").err == "error: There is no model 'cels'. (MODEL_NOT_FOUND)\n"
    error = json.loads(run("models", "--json").err)["error"]
    assert (error["reason"], error["metadata"]) == ("MODEL_NOT_FOUND", {"nearest": "cells"})


def test_a_failure_of_the_server_names_the_request(run: Run, servicer: CannedServicer) -> None:
    servicer.failures.append(
        failure(
            code_pb2.INTERNAL, "something broke", error_details_pb2.RequestInfo(request_id="abc")
        )
    )
    assert run("models").err == "error: something broke (request abc)\n"


def test_a_server_that_is_not_there_is_told(run: Run) -> None:
    output = run("models", "--address", "127.0.0.1:1")
    assert output.code == 1
    assert output.err.startswith("error: 127.0.0.1:1 is unavailable: ")
    assert output.err.count("\n") == 1


def test_a_model_that_does_not_serve_is_not_a_missing_server(
    run: Run, servicer: CannedServicer
) -> None:
    told = error_details_pb2.RequestInfo(request_id="abc")
    failed = failure(code_pb2.UNAVAILABLE, "Model 'cells' does not serve: it is broken", told)
    servicer.failures += [failed] * 10
    assert run("models").err == "error: Model 'cells' does not serve: it is broken\n"


def test_whole_numbers_are_sent_to_a_model_of_whole_numbers(
    run: Run, servicer: CannedServicer, tmp_path: Path
) -> None:
    servicer.described.versions[0].inputs[0].datatype = "INT64"
    (tmp_path / "row.csv").write_text("1,2,3\n", encoding="utf-8")
    for option, value in (("--values", "1,2,3"), ("--csv", str(tmp_path / "row.csv"))):
        assert run("explain", "cells", option, value).code == 0
        (sent,) = asked(servicer).inputs
        assert sent.datatype == "INT64"
        assert np.frombuffer(sent.data, np.int64).tolist() == [1, 2, 3]


def test_the_version_is_printed(run: Run) -> None:
    output = run("--version")
    assert output.code == 0
    assert output.out == f"adcaptum {version('adcaptum')}\n"


def test_a_misspelt_method_is_answered_with_the_nearest(run: Run) -> None:
    output = run("methods", "--about", "integratedgradients")
    assert output.code == 2
    assert "Did you mean 'integrated_gradients'" in " ".join(output.err.split())


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "cells"),
        ("predict", "cells", "--text", "a", "--values", "1"),
        ("predict", "cells", "--values", "1,x"),
        ("predict", "cells", "--values", "1,2", "--values", "3"),
        ("predict", "cells", "--image", "nowhere.png"),
        ("predict", "cells", "--npy", "nowhere.npy"),
        ("predict", "cells", "--csv", "nowhere.csv"),
        ("explain", "cells", "--values", "1", "--param", "n_steps"),
        ("explain", "cells", "--values", "1", "--target", "top:x"),
        ("explain", "cells", "--values", "1", "--on-deadline", "panic"),
        ("predict",),
        ("dance",),
    ],
    ids=" ".join,
)
def test_a_command_that_is_written_wrongly_ends_with_2(run: Run, words: tuple[str, ...]) -> None:
    output = run(*words)
    assert output.code == 2
    assert output.err
    assert "Traceback" not in output.err


def test_serve_says_which_setting_is_wrong() -> None:
    program = "from adcaptum.service.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "models", "--port", "70000"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "port: Input should be less than or equal to 65535" in done.stderr


def test_serve_quiets_openmp_before_torch_is_there() -> None:
    program = (
        "import os, sys, typer\n"
        "from adcaptum.service.cli.serve import run_server\n"
        "try: run_server({'repository': 'models', 'port': -1})\n"
        "except typer.BadParameter: pass\n"
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "PASSIVE False\n"


def test_the_commands_are_imported_without_torch() -> None:
    program = "import sys, adcaptum.service.cli.app; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_lack_of_the_extra_is_told() -> None:
    program = "import sys; sys.modules['typer'] = None\nimport adcaptum.service.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install 'adcaptum[cli]'" in done.stderr


def test_parameters_alone_are_those_of_the_models_default_method(
    run: Run, servicer: CannedServicer
) -> None:
    output = run("explain", "cells", "--values", "1,2,3", "--param", "n_steps=5")
    assert output.code == 0
    (method,) = asked(servicer).spec.methods
    assert method.name == "integrated_gradients"
    assert method.params["n_steps"].number_value == 5


def test_an_error_of_a_call_is_json_where_json_is_asked_for(
    run: Run, servicer: CannedServicer
) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="seed", description="too large")
    details = error_details_pb2.BadRequest(field_violations=[violation])
    identity = error_details_pb2.RequestInfo(request_id="abc")
    info = error_details_pb2.ErrorInfo(reason="FIELD_INVALID", domain="adcaptum")
    servicer.failures.append(failure(code_pb2.INVALID_ARGUMENT, "wrong", info, details, identity))
    output = run("models", "--json")
    assert (output.code, output.out) == (1, "")
    assert json.loads(output.err) == {
        "error": {
            "kind": "InvalidRequest",
            "message": "wrong; seed: too large",
            "reason": "FIELD_INVALID",
            "request_id": "abc",
            "violations": [{"field": "seed", "description": "too large"}],
        }
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("predict", "cells", "--values", "1,x,3"),
            "Invalid value for --values: row 1, column 'texture': 'x' is not a number",
        ),
        (("predict", "cells", "--dance"), "No such option"),
        (("dance",), "No such command"),
    ],
    ids=str,
)
def test_a_usage_error_is_json_where_json_is_asked_for(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    output = run(*words, "--json")
    assert (output.code, output.out) == (2, "")
    error = json.loads(output.err)["error"]
    assert error["kind"] == "usage"
    assert message in error["message"]


def test_a_table_with_a_wrong_header_names_few_of_many_features(
    run: Run, servicer: CannedServicer, tmp_path: Path
) -> None:
    names = [f"measurement {i}" for i in range(30)]
    described = canned.model()
    columns = described.versions[0].inputs[0].features
    del columns[:]
    for name in names:
        columns.add(name=name)
    servicer.described = described
    table = tmp_path / "rows.csv"
    table.write_text("B," + ",".join("1" * 30) + "\n")
    error = run("explain", "cells", "--csv", str(table)).err
    assert "the first line is a header, because 'B' is not a number" in error
    assert "none of the model's 30 features" in error
    assert "and 27 others" in error
    assert "measurement 4" not in error
    table.write_text(",".join(names[7:]) + "\n" + ",".join("1" * 23) + "\n")
    error = run("explain", "cells", "--csv", str(table)).err
    assert "no column 'measurement 0', 'measurement 1', 'measurement 2' and 4 others" in error


def serve(*words: str, missing: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs `adcaptum serve`, as where a package is missing."""
    hidden = f"sys.modules[{missing!r}] = None\n" if missing else ""
    program = f"import sys\n{hidden}from adcaptum.service.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "serve", *words],
        check=False,
        capture_output=True,
        text=True,
    )


def test_serve_without_a_folder_says_so() -> None:
    done = serve()
    assert done.returncode == 2
    assert "no folder of models: name it, as in adcaptum serve build/models" in done.stderr


def test_serve_says_that_there_is_no_such_folder(tmp_path: Path) -> None:
    # Before it imports torch, which takes seconds.
    done = serve(str(tmp_path / "nowhere"), missing="torch")
    assert done.returncode == 2
    assert "nowhere is not a folder" in done.stderr.replace("\n", "")


@pytest.mark.parametrize("missing", ["pydantic_settings", "torch", "uvicorn"])
def test_serve_without_the_services_extra_names_it(missing: str, tmp_path: Path) -> None:
    done = serve(str(tmp_path), missing=missing)
    assert done.returncode == 1
    assert f"adcaptum serve needs {missing}" in done.stderr
    assert "install torch first, then pip install 'adcaptum[service]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_alone_says_which_setting_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adcaptum.service"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "error: repository: Field required\n"
