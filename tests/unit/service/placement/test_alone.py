from pathlib import Path

from adcaptum.service.placement import alone
from adcaptum.service.settings import Settings
from tests.unit.service.placement.test_stored import write


def test_one_process_has_what_its_device_may_have_and_its_memory_holds(tmp_path: Path) -> None:
    write(tmp_path, "graphic", 'devices = ["cuda"]', 10)
    write(tmp_path, "huge", f"memory_bytes = {1 << 60}", 10)
    write(tmp_path, "many", "replicas = 5", 10)
    assert alone.unplaced(Settings(repository=tmp_path)).keys() == {"graphic", "huge"}
    assert not alone.unplaced(Settings(repository=tmp_path, device="cuda"))
