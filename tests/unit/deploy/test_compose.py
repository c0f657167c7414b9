"""docker-compose.yml, as far as it can be judged without a Docker engine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from adcaptum.service.settings import Settings

NAMES = ("server", "prometheus", "grafana")


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(
        (repository / "docker-compose.yml").read_text(encoding="utf-8")
    )
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = compose["services"]
    return loaded


@pytest.fixture(params=NAMES)
def service(request: pytest.FixtureRequest, services: dict[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = services[request.param]
    return chosen


def mounts(service: dict[str, Any]) -> list[list[str]]:
    """Source, target and options of what is bound from the repository."""
    return [
        mount.split(":") for mount in service.get("volumes", []) if mount.startswith(("./", "/"))
    ]


def seconds(duration: str) -> float:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match is not None
    return float(match[1])


def test_it_follows_the_compose_specification(repository: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"),
            repository / "docker-compose.yml",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_services_are_the_server_and_those_who_watch_it(services: dict[str, Any]) -> None:
    assert tuple(services) == NAMES


def test_ports_are_open_on_the_loopback_only(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_images_are_pinned_to_a_version(service: dict[str, Any]) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_the_servers_image_has_the_projects_version(
    repository: Path, services: dict[str, Any]
) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert services["server"]["image"] == f"adcaptum:{project['version']}"


def test_the_server_is_built_from_the_dockerfile_with_its_own_arguments(
    repository: Path, services: dict[str, Any]
) -> None:
    build = services["server"]["build"]
    assert build["context"] == "."
    dockerfile = (repository / build["dockerfile"]).read_text(encoding="utf-8")
    assert build["args"] == re.findall(r"^ARG (\w+)", dockerfile, flags=re.MULTILINE)


def test_what_is_mounted_exists_and_cannot_be_written(
    repository: Path, service: dict[str, Any]
) -> None:
    for source, _, mode in mounts(service):
        assert (repository / source).exists()
        assert mode == "ro"


def test_named_volumes_are_declared(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    used = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(("./", "/"))
    }
    assert used == set(compose["volumes"])


def test_services_have_no_privileges(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_the_server_may_write_into_its_temporary_folder_only(services: dict[str, Any]) -> None:
    server = services["server"]
    assert server["read_only"] is True
    assert server["tmpfs"] == ["/tmp"]
    assert "volumes" not in server


def test_the_server_publishes_both_of_its_ports(services: dict[str, Any]) -> None:
    fields = Settings.model_fields
    ports = [fields["port"].default, fields["http_port"].default]
    assert services["server"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]


def test_the_server_is_given_longer_to_stop_than_it_drains(services: dict[str, Any]) -> None:
    grace = seconds(services["server"]["stop_grace_period"])
    assert grace > Settings.model_fields["drain_seconds"].default


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_health_checks_ask_the_port_that_is_published(services: dict[str, Any], name: str) -> None:
    service = services[name]
    (port,) = (port.split(":")[2] for port in service["ports"])
    command = service["healthcheck"]["test"]
    assert command[:2] == ["CMD", "wget"]
    assert command[-1].startswith(f"http://127.0.0.1:{port}/")


def test_prometheus_reads_the_mounted_configuration(services: dict[str, Any]) -> None:
    service = services["prometheus"]
    targets = {target: source for source, target, _ in mounts(service)}
    (path,) = (
        option.removeprefix("--config.file=")
        for option in service["command"]
        if option.startswith("--config.file=")
    )
    assert targets[path] == "./deploy/prometheus/prometheus.yml"
    assert targets["/etc/prometheus/rules"] == "./deploy/prometheus/rules"


def test_prometheus_scrapes_the_server_by_its_name(
    repository: Path, services: dict[str, Any]
) -> None:
    text = (repository / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["scrape_configs"]
    (config,) = job["static_configs"]
    (target,) = config["targets"]
    host, port = target.split(":")
    assert host in services
    assert int(port) == Settings.model_fields["http_port"].default


def test_grafana_asks_the_prometheus_beside_it(repository: Path, services: dict[str, Any]) -> None:
    text = (repository / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text(
        encoding="utf-8"
    )
    (source,) = yaml.safe_load(text)["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]


def test_grafana_knows_how_often_prometheus_scrapes(repository: Path) -> None:
    deploy = repository / "deploy"
    source = yaml.safe_load(
        (deploy / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8")
    )
    prometheus = yaml.safe_load((deploy / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    interval = source["datasources"][0]["jsonData"]["timeInterval"]
    assert interval == prometheus["global"]["scrape_interval"]


def test_grafana_finds_the_dashboard_where_it_is_mounted(
    repository: Path, services: dict[str, Any]
) -> None:
    text = (repository / "deploy/grafana/provisioning/dashboards/adcaptum.yml").read_text(
        encoding="utf-8"
    )
    (provider,) = yaml.safe_load(text)["providers"]
    targets = {target: source for source, target, _ in mounts(services["grafana"])}
    folder = provider["options"]["path"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/adcaptum.json"
    assert (repository / targets[folder] / "adcaptum.json").exists()
