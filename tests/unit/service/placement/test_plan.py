from adcaptum.service.placement.plan import Capacity, Demand, plan
from adcaptum.service.placement.terms import Terms

GIB = 1 << 30


def two(nbytes: int | None) -> list[Capacity]:
    return [Capacity("0", "cuda:0", nbytes), Capacity("1", "cuda:1", nbytes)]


def test_two_large_models_have_a_worker_each_and_small_ones_both() -> None:
    wanted = [Demand("large", 6 * GIB), Demand("other", 6 * GIB), Demand("small", GIB)]
    made = plan(wanted, two(10 * GIB))
    assert made.models == {"0": ("large", "small"), "1": ("other", "small")}
    assert not made.unplaced


def test_a_model_that_fits_nowhere_has_the_reason_and_takes_no_room() -> None:
    made = plan([Demand("huge", 20 * GIB), Demand("small", GIB)], two(10 * GIB))
    assert made.models == {"0": ("small",), "1": ("small",)}
    assert made.unplaced == {
        "huge": "it takes 20.0 GiB of memory, and no worker that it may use has more than 10.0 GiB "
        "left"
    }


def test_devices_and_replicas_are_kept_and_spread() -> None:
    wanted = [
        Demand("everywhere", GIB),
        Demand("one", GIB, Terms(replicas=1)),
        Demand("other", GIB, Terms(replicas=1)),
        Demand("second", GIB, Terms(devices=("cuda:1",))),
        Demand("processor", GIB, Terms(devices=("cpu",))),
        Demand("many", GIB, Terms(devices=("cuda",), replicas=3)),
    ]
    made = plan(wanted, two(None))
    assert {"everywhere", "many"} <= {*made.models["0"]} & {*made.models["1"]}
    assert len({"one", "other"} & {*made.models["0"]}) == 1
    assert "second" in made.models["1"]
    assert "second" not in made.models["0"]
    assert made.unplaced == {
        "processor": "its [placement] allows the devices cpu, and the workers have cuda:0, cuda:1"
    }
    assert made.short == {"many": "it wants 3 replicas, and there is room for 2"}


def test_a_device_has_its_names() -> None:
    assert Terms(devices=("cuda",)).allows("cuda:1")
    assert Terms(devices=("cuda:0",)).allows("cuda")
    assert not Terms(devices=("cuda:1",)).allows("cuda")
    assert not Terms(devices=("cuda:1",)).allows("cuda:0")
    assert not Terms(devices=("cpu",)).allows("cuda")
