"""`adcaptum models load`, `reload`, `unload` and `alias`."""

import json

from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped]

from adcaptum.v1 import model_pb2, repository_service_pb2 as pb
from tests.unit.cli.conftest import Run
from tests.unit.client.canned_server import CannedServicer

CELLS = model_pb2.ModelRef(name="cells")


def test_a_model_is_loaded(run: Run, servicer: CannedServicer) -> None:
    output = run("models", "load", "cells", "--version", "2")
    assert (output.code, output.out) == (0, "cells 1 ready\n")
    expected = pb.LoadModelRequest(wait=True)
    expected.model.name, expected.model.version = "cells", "2"
    assert servicer.asked == [("LoadModel", expected)]
    assert run("models", "load", "cells", "--no-wait").code == 0
    assert servicer.asked[-1][1] == pb.LoadModelRequest(model=CELLS)


def test_all_models_are_loaded_anew(run: Run, servicer: CannedServicer) -> None:
    assert run("models", "reload").code == 0
    assert set(servicer.rpcs) == {"ListModels", "LoadModel"}
    assert run("models", "reload", "a", "b").out.count("ready") == 2


def test_a_model_is_unloaded(run: Run, servicer: CannedServicer) -> None:
    output = run("models", "unload", "cells", "--json")
    assert json.loads(output.out)["name"] == "cells"
    assert servicer.asked == [("UnloadModel", pb.UnloadModelRequest(model=CELLS))]


def test_an_alias_moves_or_goes(run: Run, servicer: CannedServicer) -> None:
    assert run("models", "alias", "cells", "stable", "2", "--expected", "1").out == "stable 1\n"
    moved = servicer.asked[-1][1]
    assert isinstance(moved, pb.SetAliasRequest)
    assert (moved.model.version, moved.alias, moved.expected_version) == ("2", "stable", "1")
    run("models", "alias", "cells", "stable", "--of", "canary")
    copied = servicer.asked[-1][1]
    assert isinstance(copied, pb.SetAliasRequest)
    assert (copied.model.alias, copied.HasField("expected_version")) == ("canary", False)
    run("models", "alias", "cells", "stable", "--delete")
    assert servicer.rpcs[-1] == "DeleteAlias"
    assert "--delete" in run("models", "alias", "cells", "stable").err


def test_a_refusal_is_told(run: Run, servicer: CannedServicer) -> None:
    servicer.failures.append(status_pb2.Status(code=code_pb2.ABORTED, message="It has moved."))
    output = run("models", "alias", "cells", "stable", "2")
    assert output.code == 1
    assert "It has moved." in output.err


def test_a_model_of_a_commands_name_can_be_shown(run: Run, servicer: CannedServicer) -> None:
    assert run("models", "show", "load").code == 0
    assert servicer.rpcs == ["GetModel"]
