"""Loading, unloading and aliases over HTTP."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

from tests.integration.conftest import Start
from tests.integration.service.asking import cells


def test_models_are_loaded_unloaded_and_named(
    start_server: Start, models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "cells", tmp_path / "cells")
    server = start_server(tmp_path, ADCAPTUM_ADMIN_CALLS="true")
    inputs = {"inputs": [{"values": cells(1).astype(float).tolist()}]}
    base = f"http://{server.http_address}/api/v1/models/cells"
    with httpx.Client(timeout=60) as http:
        alias = f"{base}/aliases/canary"
        assert http.post(f"{alias}:predict", json=inputs).status_code == 404
        moved = http.put(alias, params={"version": "1", "expected_version": ""})
        assert moved.json()["model"]["aliases"]["canary"] == "1"
        assert http.post(f"{alias}:predict", json=inputs).status_code == 200
        late = http.delete(alias, params={"expected_version": "7"})
        assert (late.status_code, late.json()["reason"]) == (409, "ALIAS_MOVED")
        assert http.put(alias, params={"version": "9"}).json()["reason"] == "VERSION_NOT_FOUND"
        assert "canary" not in http.delete(alias).json()["model"]["aliases"]
        assert http.delete(alias).json()["reason"] == "ALIAS_NOT_FOUND"

        assert http.post(f"{base}:unload").status_code == 200
        refused = http.post(f"{base}:predict", json=inputs)
        assert refused.json()["reason"] == "MODEL_UNLOADED"
        loaded = http.post(f"{base}:load", json={"wait": True})
        assert loaded.json()["version"]["state"] == "MODEL_STATE_READY"
        assert http.post(f"{base}:predict", json=inputs).status_code == 200
        assert http.post(f"{base}/versions/9:load").json()["reason"] == "VERSION_NOT_FOUND"
