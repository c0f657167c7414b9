"""deploy/Dockerfile, as far as it can be judged without building it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from adcaptum.service.settings import Settings


class Instruction(NamedTuple):
    """A line of a Dockerfile, its continuations joined."""

    name: str
    text: str
    stage: str


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> list[Instruction]:
    lines = (repository / "deploy/Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    instructions: list[Instruction] = []
    stage = ""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line:
            name, rest = line.split(maxsplit=1)
            stage = rest.split(" AS ")[1] if name == "FROM" else stage
            instructions.append(Instruction(name, rest, stage))
    return instructions


@pytest.fixture(scope="module")
def server(dockerfile: list[Instruction]) -> dict[str, str]:
    """What the last stage declares, by instruction."""
    return {name: text for name, text, stage in dockerfile if stage == dockerfile[-1].stage}


@pytest.fixture(scope="module")
def installs(dockerfile: list[Instruction]) -> list[list[str]]:
    """The arguments of every `pip install`."""
    return [
        shlex.split(command.split("pip install ", 1)[1])
        for name, text, _ in dockerfile
        if name == "RUN"
        for command in text.split("&&")
        if "pip install " in command
    ]


@pytest.fixture(scope="module")
def makefile_installs(repository: Path) -> list[list[str]]:
    text = re.sub(r"\\\n\s*", "", (repository / "Makefile").read_text(encoding="utf-8"))
    recipe = re.search(r"^\$\(STAMP\):.*\n((?:\t.*\n)+)", text, flags=re.MULTILINE)
    assert recipe is not None
    return [
        [word for word in shlex.split(line.split("pip install ", 1)[1]) if word != "--quiet"]
        for line in recipe[1].splitlines()
        if "pip install " in line
    ]


def copied(dockerfile: list[Instruction]) -> list[str]:
    """What is copied from the repository."""
    return [
        source
        for name, text, _ in dockerfile
        if name == "COPY" and not text.startswith("--from")
        for source in text.split()[:-1]
    ]


def test_hadolint_finds_nothing(repository: Path) -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [linter, "--no-color", repository / "deploy/Dockerfile"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_everything_copied_exists(repository: Path, dockerfile: list[Instruction]) -> None:
    sources = copied(dockerfile)
    assert sources
    assert [source for source in sources if not (repository / source).exists()] == []


def test_everything_copied_is_in_the_build_context_and_nothing_else_is(
    repository: Path, dockerfile: list[Instruction]
) -> None:
    lines = (repository / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert allowed == set(copied(dockerfile))


def test_caches_are_not_in_the_build_context(repository: Path) -> None:
    # The last line that matches a path decides.
    lines = (repository / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[-2:] == ["**/__pycache__", "**/*.egg-info"]


def test_the_same_pip_as_the_makefile_installs_the_same_torch_first(
    dockerfile: list[Instruction],
    installs: list[list[str]],
    makefile_installs: list[list[str]],
) -> None:
    (pip, (torch,)) = makefile_installs[:2]
    assert installs[0] == pip
    assert installs[1][-1] == "$TORCH_REQUIREMENT"
    assert Instruction("ARG", f"TORCH_REQUIREMENT={torch}", "build") in dockerfile


def test_the_project_is_installed_under_the_makefiles_constraints(
    installs: list[list[str]], makefile_installs: list[list[str]]
) -> None:
    assert makefile_installs[2][:2] == ["--constraint", "constraints.txt"]
    assert installs[2] == ["--constraint", "constraints.txt", ".[service,zoo]"]


def test_the_packages_with_demo_weights_are_the_makefiles(
    installs: list[list[str]], makefile_installs: list[list[str]]
) -> None:
    # What follows there, only tests need.
    assert installs[3:] == makefile_installs[3:4]


def test_the_models_are_built_by_the_makefiles_command(
    repository: Path, dockerfile: list[Instruction]
) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    assert "-m adcaptum.zoo build --into $(MODELS)" in makefile
    assert any(
        "python -m adcaptum.zoo build --into /models" in text
        for name, text, stage in dockerfile
        if (name, stage) == ("RUN", "models")
    )


def test_every_stage_runs_the_same_python(dockerfile: list[Instruction]) -> None:
    bases = [text.split(" AS ")[0] for name, text, _ in dockerfile if name == "FROM"]
    assert set(bases) == {"python:3.11-slim", "build"}


def test_no_build_argument_reaches_the_server(dockerfile: list[Instruction]) -> None:
    assert {stage for name, _, stage in dockerfile if name == "ARG"} == {"build"}


def test_the_server_is_not_root_and_says_so_by_number(server: dict[str, str]) -> None:
    user, group = map(int, server["USER"].split(":"))
    assert user >= 1000
    assert group >= 1000


def test_the_server_gets_signals_itself(server: dict[str, str]) -> None:
    assert json.loads(server["ENTRYPOINT"]) == ["adcaptum", "serve", "/models", "--host", "0.0.0.0"]
    assert server["STOPSIGNAL"] == "SIGTERM"


def test_the_exposed_ports_are_the_servers_own(server: dict[str, str]) -> None:
    fields = Settings.model_fields
    ports = [fields["port"].default, fields["http_port"].default]
    assert [int(port) for port in server["EXPOSE"].split()] == ports


def test_threads_do_not_spin_while_they_wait(server: dict[str, str]) -> None:
    assert "OMP_WAIT_POLICY=PASSIVE" in server["ENV"].split()


def test_the_health_check_asks_for_readiness(server: dict[str, str]) -> None:
    command = json.loads(server["HEALTHCHECK"].split("CMD ")[1])
    port = Settings.model_fields["http_port"].default
    assert command[1:] == ["/opt/adcaptum/healthcheck.py", f"http://127.0.0.1:{port}/readyz"]
