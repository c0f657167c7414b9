"""The plan of models on workers keeps its promises, whatever the models and the workers."""

from math import inf
from random import Random

from hypothesis import given, strategies as st

from adcaptum.service.placement.plan import Capacity, Demand, Plan, plan
from adcaptum.service.placement.terms import Terms

DEVICES = ("cpu", "cuda:0", "cuda:1")
terms = st.builds(
    Terms,
    devices=st.lists(st.sampled_from((*DEVICES, "cuda")), max_size=2).map(tuple),
    replicas=st.integers(0, 4),
)
demands = st.lists(
    st.builds(Demand, name=st.sampled_from("abcdefgh"), nbytes=st.integers(0, 100), terms=terms),
    max_size=8,
    unique_by=lambda each: each.name,
)
rooms = st.lists(
    st.tuples(st.sampled_from(DEVICES), st.none() | st.integers(0, 200)), min_size=1, max_size=5
)


def capacities(given: list[tuple[str, int | None]]) -> list[Capacity]:
    return [Capacity(str(index), device, room) for index, (device, room) in enumerate(given)]


def copies(made: Plan, name: str) -> int:
    return sum(name in models for models in made.models.values())


@given(demands, rooms)
def test_a_plan_keeps_its_promises(
    wanted: list[Demand], given: list[tuple[str, int | None]]
) -> None:
    have = capacities(given)
    made = plan(wanted, have)
    left = {}
    by_name = {each.name: each for each in wanted}
    for room in have:
        taken = sum(by_name[name].nbytes for name in made.models[room.worker])
        left[room.worker] = inf if room.nbytes is None else room.nbytes - taken
        assert left[room.worker] >= 0
        assert all(by_name[name].terms.allows(room.device) for name in made.models[room.worker])
    for each in wanted:
        found, most = copies(made, each.name), each.terms.replicas or len(have)
        assert found <= most
        assert (found == 0) == (each.name in made.unplaced)
        assert (each.name in made.short) == (0 < found < each.terms.replicas)
        if found < most:
            # There is none on which it would still fit.
            assert not [
                room
                for room in have
                if each.terms.allows(room.device)
                and each.name not in made.models[room.worker]
                and each.nbytes <= left[room.worker]
            ]


@given(demands, rooms, st.randoms())
def test_the_order_of_the_models_does_not_matter(
    wanted: list[Demand], given: list[tuple[str, int | None]], chance: Random
) -> None:
    shuffled = [*wanted]
    chance.shuffle(shuffled)
    assert plan(wanted, capacities(given)) == plan(shuffled, capacities(given))


@given(demands, rooms)
def test_where_there_is_room_for_all_everything_is_everywhere_it_may_be(
    wanted: list[Demand], given: list[tuple[str, int | None]]
) -> None:
    have = capacities([(device, None) for device, _ in given])
    made = plan(wanted, have)
    for each in wanted:
        allowed = sum(each.terms.allows(room.device) for room in have)
        most = each.terms.replicas or len(have)
        assert copies(made, each.name) == min(allowed, most)
