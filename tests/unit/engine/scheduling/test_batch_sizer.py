import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from adcaptum.engine.scheduling.batch_curve import nearest_exponent
from adcaptum.engine.scheduling.batch_sizer import BatchSizer
from adcaptum.engine.scheduling.memory_limit import PROBE

TARGET = 0.025
SIZES = [1 << exponent for exponent in range(13)]

Seconds = Callable[[int], float]


def affine(overhead: float, row: float) -> Seconds:
    return lambda rows: overhead + row * rows


def cliff(overhead: float, row: float, at: int, factor: float) -> Seconds:
    """Rows beyond `at` cost `factor` times as much: they no longer fit in a cache."""

    def seconds(rows: int) -> float:
        beyond = max(0, rows - at)
        return overhead * (1 + (beyond > 0)) + row * (rows + (factor - 1) * beyond)

    return seconds


# As measured on real models: seconds of a batch over its rows.
CURVES = {
    "small perceptron": affine(300e-6, 2e-6),
    "perceptron that leaves the cache": cliff(300e-6, 2e-6, 1024, 3),
    "convolutions on a CPU": cliff(2e-3, 1.5e-3, 32, 1.5),
    "transformer on a CPU": cliff(5e-3, 60e-3, 4, 1.5),
    "accelerator": affine(3e-3, 15e-6),
    "a row longer than the target": affine(0.01, 0.2),
    "overhead only": affine(5e-3, 1e-9),
    "no overhead": affine(1e-9, 1e-4),
}


def best_rate(curve: Seconds, target: float | None) -> float:
    longest = float("inf") if target is None else max(target, 2 * curve(1))
    sizes = [rows for rows in SIZES if curve(rows) <= longest]
    return max(rows / curve(rows) for rows in sizes)


def drive(
    sizer: BatchSizer, curve: Seconds, batches: int, rng: random.Random, noise: float = 0.2
) -> list[int]:
    """Run full batches; returns their sizes."""
    sizes = []
    for _ in range(batches):
        rows = sizer.rows("key")
        sizes.append(rows)
        sizer.observe("key", rows, curve(rows) * rng.lognormvariate(0, noise))
    return sizes


def reached(sizes: list[int], curve: Seconds) -> float:
    return sum(sizes) / sum(curve(rows) for rows in sizes)


@pytest.mark.parametrize("target", [TARGET, None], ids=["target", "throughput"])
@pytest.mark.parametrize("name", CURVES)
def test_reaches_nine_tenths_of_the_best_throughput_despite_noise(
    name: str, target: float | None
) -> None:
    curve = CURVES[name]
    fractions = []
    for seed in range(20):
        rng = random.Random(seed)
        sizer = BatchSizer(target_seconds=target)
        drive(sizer, curve, 60, rng)
        steady = drive(sizer, curve, 200, rng)
        fractions.append(reached(steady, curve) / best_rate(curve, target))
    fractions.sort()
    assert fractions[10] >= 0.9
    assert fractions[0] >= 0.8


@pytest.mark.parametrize("name", CURVES)
def test_converges_within_two_dozen_batches_without_noise(name: str) -> None:
    curve = CURVES[name]
    sizer = BatchSizer(target_seconds=TARGET)
    drive(sizer, curve, 24, random.Random(0), noise=0)
    steady = drive(sizer, curve, 40, random.Random(0), noise=0)
    assert reached(steady, curve) >= 0.85 * best_rate(curve, TARGET)


@pytest.mark.parametrize("name", [name for name, curve in CURVES.items() if curve(1) <= TARGET])
def test_batches_take_no_longer_than_the_target(name: str) -> None:
    curve = CURVES[name]
    for seed in range(20):
        rng = random.Random(seed)
        sizer = BatchSizer(target_seconds=TARGET)
        drive(sizer, curve, 60, rng)
        seconds = [curve(rows) for rows in drive(sizer, curve, 100, rng)]
        assert sum(seconds) / len(seconds) <= TARGET
        assert sum(each > 1.2 * TARGET for each in seconds) <= 5


def test_gives_one_row_if_one_takes_longer_than_the_target_and_more_are_no_faster() -> None:
    sizes = drive(BatchSizer(), affine(0.01, 0.2), 200, random.Random(0), noise=0)
    assert sizes[-100:].count(1) >= 95
    assert max(sizes) == 2


def test_a_fixed_cost_above_the_target_is_shared_by_many_rows() -> None:
    # 30 ms a batch and 50 us a row: one row at a time gave 33 rows a second.
    curve = affine(0.03, 50e-6)
    sizes = drive(BatchSizer(), curve, 60, random.Random(0), noise=0)
    assert reached(sizes[-20:], curve) >= 9_000
    assert max(map(curve, sizes)) <= 3 * curve(1)


@pytest.mark.parametrize("launch", [0.01, 0.02, 0.06])
def test_operations_that_are_launched_one_by_one_get_larger_batches(launch: float) -> None:
    # DeepLIFT and LRP launch several times as many operations as a gradient: their
    # keys start from the curve of gradients, and learn what a batch costs beside its rows.
    gradients, rule = affine(1e-3, 200e-6), affine(launch, 200e-6)
    sizer = BatchSizer(kind=lambda _: "gradient")
    sizer.seed("gradient", {rows: gradients(rows) for rows in SIZES[:9] if gradients(rows) < 0.03})
    assert sizer.rows("key") <= 128
    sizes = drive(sizer, rule, 60, random.Random(0), noise=0)
    assert reached(sizes[-20:], rule) >= 0.8 * best_rate(rule, TARGET)


def test_where_a_batch_may_not_take_longer_than_the_target_one_row_is_the_least() -> None:
    sizer = BatchSizer(row_times=1.0)
    assert max(drive(sizer, affine(0.03, 50e-6), 60, random.Random(0), noise=0)) == 1


def test_the_time_of_a_row_is_measured_again_where_it_is_the_limit() -> None:
    sizer = BatchSizer()
    slow, fast = affine(0.2, 1e-3), affine(0.03, 1e-3)
    drive(sizer, slow, 100, random.Random(0), noise=0)
    assert sizer.rows("key") >= 128
    sizes = drive(sizer, fast, 400, random.Random(0), noise=0)
    assert max(map(fast, sizes[-150:])) <= 3 * fast(1)


def test_prefers_the_smaller_of_two_sizes_that_are_equally_fast() -> None:
    sizer = BatchSizer(target_seconds=None)
    steady = drive(sizer, affine(1e-3, 1e-3), 400, random.Random(0), noise=0)[-20:]
    assert max(steady) <= 64


def test_grows_by_doubling() -> None:
    sizes = drive(BatchSizer(), affine(5e-3, 1e-6), 13, random.Random(0), noise=0)
    assert sizes == SIZES


def test_never_tries_more_than_twice_the_largest_size_that_paid() -> None:
    sizer = BatchSizer(target_seconds=None)
    sizes = drive(sizer, cliff(5e-3, 60e-3, 4, 3), 1000, random.Random(0), noise=0)
    assert max(sizes) <= 8


def test_tries_a_size_that_did_not_pay_less_and_less_often() -> None:
    curve = cliff(1e-3, 1e-3, 16, 4)
    sizes = drive(BatchSizer(target_seconds=None), curve, 1000, random.Random(0), noise=0)
    trials = [index for index, rows in enumerate(sizes) if rows == 32]
    gaps = [after - before for before, after in pairwise(trials)]
    assert len(trials) <= 15
    assert gaps == sorted(gaps)


def test_a_slow_first_batch_of_every_size_does_not_mislead() -> None:
    curve = CURVES["small perceptron"]
    sizer = BatchSizer()
    seen: set[int] = set()
    for _ in range(80):
        rows = sizer.rows("key")
        sizer.observe("key", rows, curve(rows) * (1 if rows in seen else 10))
        seen.add(rows)
    assert curve(sizer.rows("key")) <= TARGET
    assert sizer.rows("key") / curve(sizer.rows("key")) >= 0.9 * best_rate(curve, TARGET)


@pytest.mark.parametrize("factor", [1.6, 10])
def test_a_smaller_size_that_was_unlucky_is_measured_again(factor: float) -> None:
    curve = cliff(8e-3, 1e-3, 8, 2.5)
    sizer = BatchSizer(target_seconds=None)
    for rows in (1, 2, 4, 8, 16):
        for _ in range(2):
            sizer.observe("key", rows, curve(rows) * (factor if rows == 8 else 1))
    assert sizer.rows("key") != 4
    drive(sizer, curve, 30, random.Random(0), noise=0)
    assert sizer.rows("key") == 8


@pytest.mark.parametrize("times", [(0.018, 0.010), (0.010, 0.018)], ids=str)
def test_of_the_first_two_batches_of_a_size_the_faster_counts(times: tuple[float, float]) -> None:
    sizer = BatchSizer()
    for seconds in times:
        sizer.observe("key", 4, seconds)
    assert [(point.seconds, point.samples) for point in sizer.curve("key")] == [(0.010, 2)]


def test_a_single_spike_does_not_change_the_choice() -> None:
    sizer = BatchSizer()
    drive(sizer, CURVES["accelerator"], 200, random.Random(0), noise=0)
    before = sizer.rows("key")
    sizer.observe("key", before, 3.0)
    assert sizer.rows("key") >= before // 2


def test_follows_a_machine_that_becomes_slower_and_recovers() -> None:
    sizer = BatchSizer()
    fast, slow = affine(1e-3, 1e-4), affine(4e-3, 4e-4)
    drive(sizer, fast, 100, random.Random(0))
    slowed = drive(sizer, slow, 100, random.Random(1))[-20:]
    assert max(slow(rows) for rows in slowed) <= 1.2 * TARGET
    recovered = drive(sizer, fast, 500, random.Random(2))[-20:]
    assert reached(recovered, fast) >= 0.85 * best_rate(fast, TARGET)


def test_batches_that_are_not_full_teach_as_well() -> None:
    curve = CURVES["accelerator"]
    sizer = BatchSizer()
    rng = random.Random(0)
    for _ in range(300):
        rows = rng.randint(1, sizer.rows("key"))
        sizer.observe("key", rows, curve(rows))
    assert curve(sizer.rows("key")) <= 1.2 * TARGET
    assert sizer.rows("key") / curve(sizer.rows("key")) >= 0.8 * best_rate(curve, TARGET)


def test_keys_are_learnt_separately() -> None:
    sizer = BatchSizer()
    drive(sizer, CURVES["small perceptron"], 50, random.Random(0))
    assert sizer.rows("key") > 64
    assert sizer.rows("another") == 1


def test_a_new_key_starts_where_its_kind_is() -> None:
    sizer = BatchSizer(kind=lambda key: str(key)[:3])
    drive(sizer, CURVES["small perceptron"], 50, random.Random(0))
    assert sizer.rows("key 2") > 64
    assert sizer.rows("other") == 1


def test_a_seeded_kind_starts_at_its_best_size() -> None:
    curve = CURVES["convolutions on a CPU"]
    sizer = BatchSizer(kind=lambda key: "gradient")
    sizer.seed("gradient", {rows: curve(rows) for rows in (1, 2, 4, 8, 16)})
    assert sizer.rows("key") == 8
    assert [point.samples for point in sizer.curve("key")] == [0, 0, 0, 0, 0]


def test_a_seed_may_say_what_rows_take_of_memory() -> None:
    sizer = BatchSizer(memory_bytes=1000, kind=lambda key: "gradient")
    curve = CURVES["small perceptron"]
    sizer.seed("gradient", {rows: curve(rows) for rows in SIZES[:9]}, (256, 25_600))
    assert sizer.rows("key") == 8


def test_a_wrong_seed_is_corrected_by_one_measurement() -> None:
    sizer = BatchSizer()
    sizer.seed("key", {rows: 1e-4 * rows + 1e-3 for rows in (1, 8, 64, 128, 256)})
    assert sizer.rows("key") == 128
    sizer.observe("key", 128, 1.0)
    assert sizer.rows("key") == 2


def test_half_the_rows_that_ran_out_of_memory_are_the_limit_at_first() -> None:
    sizer = BatchSizer()
    drive(sizer, CURVES["small perceptron"], 100, random.Random(0))
    sizer.out_of_memory("key", 256)
    assert sizer.limit("key") == 128
    assert max(drive(sizer, CURVES["small perceptron"], PROBE, random.Random(1))) == 128


def test_the_limit_is_never_below_one_row() -> None:
    sizer = BatchSizer()
    sizer.out_of_memory("key", 1)
    assert sizer.limit("key") == sizer.rows("key") == 1


def test_fixed_answers_the_same_until_memory_runs_out() -> None:
    sizer = BatchSizer(fixed=48)
    assert set(drive(sizer, CURVES["small perceptron"], 20, random.Random(0))) == {48}
    sizer.out_of_memory("key", 48)
    assert sizer.rows("key") == 24


def test_max_rows_may_depend_on_the_key() -> None:
    sizer = BatchSizer(max_rows=lambda key: 1 if key == "key" else 4096)
    assert set(drive(sizer, CURVES["small perceptron"], 20, random.Random(0))) == {1}


def test_only_powers_of_two_are_chosen_below_any_limit() -> None:
    sizes = drive(BatchSizer(max_rows=100), affine(5e-3, 1e-6), 30, random.Random(0))
    assert set(sizes) == {1, 2, 4, 8, 16, 32, 64}


def test_the_curve_shows_what_was_measured() -> None:
    sizer = BatchSizer()
    assert sizer.curve("key") == ()
    sizer.observe("key", 1, 0.002)
    sizer.observe("key", 2, 0.003)
    points = sizer.curve("key")
    assert [(point.rows, point.seconds, point.samples) for point in points] == [
        (1, 0.002, 1),
        (2, 0.003, 1),
    ]
    assert points[0].rows_per_second == 500


def test_the_number_of_keys_kept_is_bounded() -> None:
    sizer = BatchSizer()
    for key in range(3000):
        sizer.observe(key, 1, 0.01)
    assert sum(bool(sizer.curve(key)) for key in range(3000)) <= 1024


def test_refuses_limits_that_are_not_positive() -> None:
    with pytest.raises(ValueError, match="target_seconds"):
        BatchSizer(target_seconds=0.0)
    with pytest.raises(ValueError, match="max_rows"):
        BatchSizer(max_rows=0)
    with pytest.raises(ValueError, match="fixed"):
        BatchSizer(fixed=0)


def test_a_batch_of_no_measurable_time_is_accepted() -> None:
    sizer = BatchSizer()
    sizer.observe("key", 1, 0.0)
    assert sizer.rows("key") == 2


@pytest.mark.parametrize(("rows", "exponent"), [(1, 0), (2, 1), (3, 2), (5, 2), (6, 3), (700, 9)])
def test_rows_belong_to_the_nearest_power_of_two(rows: int, exponent: int) -> None:
    assert nearest_exponent(rows) == exponent


@pytest.mark.parametrize(("overhead", "row"), [(1e-3, 1e-4), (5e-3, 1e-3), (0.0, 1e-3)])
def test_seconds_are_a_line_over_rows(overhead: float, row: float) -> None:
    sizer = BatchSizer()
    drive(sizer, affine(overhead, row), 60, random.Random(0), noise=0)
    line = sizer.line("key")
    assert line.row == pytest.approx(row, rel=0.01)
    assert line.batch == pytest.approx(overhead, rel=0.01, abs=1e-9)
    assert line.seconds(3 * line.rows) == pytest.approx(3 * (overhead + row * line.rows), rel=0.01)


def test_the_line_is_that_of_the_sizes_in_use() -> None:
    sizer = BatchSizer(target_seconds=None)
    drive(sizer, cliff(1e-3, 1e-3, 16, 4), 100, random.Random(0), noise=0)
    line = sizer.line("key")
    assert line.rows <= 32
    assert line.row == pytest.approx(1e-3, rel=0.05)


def test_no_part_of_a_line_is_negative() -> None:
    sizer = BatchSizer()
    for rows, seconds in ((1, 1e-3), (2, 8e-3), (4, 64e-3)):
        sizer.observe("faster than proportional", rows, seconds)
    for rows, seconds in ((1, 9e-3), (2, 8e-3), (4, 7e-3)):
        sizer.observe("falling", rows, seconds)
    for key in ("faster than proportional", "falling"):
        line = sizer.line(key)
        assert line.row >= 0
        assert line.batch >= 0
        assert line.seconds(4) > 0


def test_nothing_is_known_of_a_key_that_was_never_measured() -> None:
    assert BatchSizer().line("key").seconds(1000) == 0
    assert BatchSizer().kind_line("kind").seconds(1000) == 0


def test_a_kind_is_told_by_its_seed_and_then_by_what_was_measured() -> None:
    sizer = BatchSizer(target_seconds=1.0, kind=lambda key: "kind")
    sizer.seed("kind", {rows: 1e-3 * rows + 1e-2 for rows in (1, 2, 4, 8)})
    assert sizer.kind_line("kind").seconds(1) == pytest.approx(11e-3)
    for _ in range(100):
        sizer.observe("key", 8, 2 * (8e-3 + 1e-2))
    assert sizer.kind_line("kind").seconds(8) == pytest.approx(36e-3, rel=0.05)


def test_no_size_is_tried_that_is_not_expected_to_fit_in_memory() -> None:
    sizer = BatchSizer(memory_bytes=1000, target_seconds=None)
    tried = []
    for _ in range(100):
        rows = sizer.rows("key")
        tried.append(rows)
        sizer.observe("key", rows, 5e-3 + 1e-6 * rows, nbytes=100 + 20 * rows)
    assert max(tried) == 32
    assert sizer.row_bytes("key") == (100 + 20 * 32) / 32


def test_a_row_that_takes_more_than_all_memory_is_tried_alone() -> None:
    sizer = BatchSizer(memory_bytes=10)
    sizer.observe("key", 4, 0.001, nbytes=400)
    assert sizer.rows("key") == 1


def test_memory_that_is_not_measured_bounds_nothing() -> None:
    sizer = BatchSizer(memory_bytes=10)
    assert max(drive(sizer, affine(5e-3, 1e-6), 30, random.Random(0))) > 1000
    assert sizer.row_bytes("key") is None
