from adcaptum.service.front import merging
from adcaptum.v1 import model_pb2

READY, LOADING = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_LOADING


def model(worker: str, state: model_pb2.ModelState.ValueType, digest: str = "") -> model_pb2.Model:
    made = model_pb2.Model(name="m")
    version = made.versions.add(state=state)
    version.identity.name, version.identity.version, version.identity.digest = "m", "1", digest
    version.placements.add(worker=worker, device="cpu", state=state)
    return made


def test_placements_of_all_workers_stand_in_their_order() -> None:
    first = model("1", READY)
    merging.add_placements([first], [model("0", READY)])
    merging.add_placements([first], [model("10", READY)])
    merging.add_placements([first], [model("1", READY)])
    assert [each.worker for each in first.versions[0].placements] == ["0", "1", "10"]


def test_a_version_has_the_state_and_the_facts_of_the_placement_that_serves_best() -> None:
    first = model("0", LOADING)
    merging.add_placements([first], [model("1", READY, "abc")])
    version = first.versions[0]
    assert version.state == READY
    assert version.identity.digest == "abc"
    assert [each.state for each in version.placements] == [LOADING, READY]


def test_a_quarantined_model_says_so() -> None:
    first = model("0", READY)
    merging.mark_quarantined([first], {"m": "why"})
    version = first.versions[0]
    assert (version.state, version.reason) == (model_pb2.MODEL_STATE_QUARANTINED, "why")
    assert version.placements[0].state == model_pb2.MODEL_STATE_QUARANTINED


def test_of_workers_without_a_model_only_those_that_have_it_are_told() -> None:
    elsewhere = model_pb2.Model(name="m")
    elsewhere.versions.add(state=model_pb2.MODEL_STATE_UNLOADED).identity.name = "m"
    for first, other in ((elsewhere, model("1", READY)), (model("1", READY), elsewhere)):
        merged = model_pb2.Model()
        merged.CopyFrom(first)
        merging.add_placements([merged], [other])
        (version,) = merged.versions
        assert (version.identity.version, version.state) == ("1", READY)
        assert [each.worker for each in version.placements] == ["1"]


def test_a_worker_that_has_not_read_a_model_yet_has_a_placement() -> None:
    loading = model("0", LOADING)
    loading.versions[0].identity.version = ""
    for first, other in ((loading, model("1", READY)), (model("1", READY), loading)):
        merged = model_pb2.Model()
        merged.CopyFrom(first)
        merging.add_placements([merged], [other])
        (version,) = merged.versions
        assert (version.identity.version, version.state) == ("1", READY)
        assert [each.state for each in version.placements] == [LOADING, READY]
