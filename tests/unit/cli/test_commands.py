"""The commands, from their words to what they print."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2  # type: ignore[import-untyped] # no marker

from adcaptum.v1 import explanation_service_pb2
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
    assert result["predictions"][0][0]["label"] == "malignant"
    assert result["outputs"]["logits"] == [[2, -1]]


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
    (explanation,) = result["explanations"]
    assert explanation["attributions"]["measurements"]["values"] == [0.5, -2.0, 0.1]
    assert explanation["error"]["kind"] == "completeness"
    assert result["reports"][0]["method"] == {
        "name": "integrated_gradients",
        "params": {"n_steps": 50},
    }


def test_explain_sends_all_that_it_is_told(run: Run, servicer: CannedServicer) -> None:
    words = "--target 1 --method smooth_grad --param of=saliency --param n_samples=5"
    words += " --baseline mean --layer hidden --max-rows 99 --on-deadline partial"
    words += " --top-features 3 --sum-channels --seed 4 --alias stable"
    words += " --layer-baseline 0.5 --neuron conv@input:1,2..4"
    assert run("explain", "cells", "--values", "1,2,3", *words.split()).code == 0
    request = asked(servicer)
    assert list(request.target.indices.values) == [1]
    assert request.methods[0].params["of"].method.name == "saliency"
    assert request.baselines[0].named == "mean"
    assert request.layer.name == "hidden"
    assert request.layer_baselines[0].constant == 0.5
    assert (request.neuron.layer.name, request.neuron.layer.input) == ("conv", True)
    assert (list(request.neuron.index), list(request.neuron.end)) == ([1, 2], [2, 4])
    assert request.budget.max_rows == 99
    assert request.output.top_features == 3
    assert request.output.sum_channels
    assert (request.seed, request.model.alias) == (4, "stable")


def test_explain_shows_what_the_model_says(run: Run, servicer: CannedServicer) -> None:
    servicer.explanations = canned.explained()
    servicer.explanations.predictions.extend(canned.prediction().predictions[:1])
    best, second = canned.prediction().predictions[0].labels[:2]
    output = run("explain", "cells", "--values", "1,2,3", "--top", "2").out
    assert (asked(servicer).output.return_predictions, asked(servicer).output.top_k) == (True, 2)
    assert output.index(best.label) < output.index(second.label)
    assert f"predicted \u201c{best.label}\u201d {best.probability:.1%}" in output


def test_explain_streams_to_the_same_answer(run: Run, servicer: CannedServicer) -> None:
    output = run("explain", "cells", "--values", "1,2,3", "--stream", "--json")
    assert json.loads(output.out)["seed"] == 7
    # The numbers are sent in the datatype that the model declares.
    assert servicer.rpcs[:2] == ["GetModel", "ExplainStream"]


def test_explain_draws_into_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    assert run("explain", "cells", "--values", "1,2,3", "--png", str(path)).code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "why.png"
    output = run("explain", "cells", "--values", "1,2,3", "--png", str(path))
    assert output.code == 1
    assert "No such file" in output.err


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


def test_models_are_listed_as_json(run: Run) -> None:
    (model,) = json.loads(run("models", "--json").out)
    assert model["identity"]["digest"] == "ab12"


def test_a_model_is_described(run: Run) -> None:
    output = run("models", "cells")
    assert "layers.2 = hidden (Linear) [128]" in output.out
    assert "95.8%" in output.out


def test_a_model_is_described_as_json(run: Run) -> None:
    assert json.loads(run("models", "cells", "--json").out)["state"] == "ready"


def test_a_feature_mask_is_read_from_a_file(
    run: Run, servicer: CannedServicer, tmp_path: Path
) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.array([[0, 0, 1]]))
    assert run("explain", "cells", "--values", "1,2,3", "--feature-mask", str(path)).code == 0
    assert list(asked(servicer).feature_masks[0].shape) == [1, 3]


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
    methods = json.loads(run("methods", "--json").out)
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
    servicer.described.inputs[0].datatype = "INT64"
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
    (method,) = asked(servicer).methods
    assert method.name == canned.model().default_method
    assert method.params["n_steps"].integer == 5


def test_an_error_of_a_call_is_json_where_json_is_asked_for(
    run: Run, servicer: CannedServicer
) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="seed", description="too large")
    details = error_details_pb2.BadRequest(field_violations=[violation])
    identity = error_details_pb2.RequestInfo(request_id="abc")
    servicer.failures.append(failure(code_pb2.INVALID_ARGUMENT, "wrong", details, identity))
    output = run("models", "--json")
    assert (output.code, output.out) == (1, "")
    assert json.loads(output.err) == {
        "error": {
            "kind": "InvalidRequest",
            "message": "wrong; seed: too large",
            "request_id": "abc",
            "violations": [{"field": "seed", "description": "too large"}],
        }
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("predict", "cells", "--values", "1,x"),
            "Invalid value for --values: 'x' is not a number",
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
    described.inputs[0].features[:] = names
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
