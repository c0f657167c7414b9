"""What a model says of rows, kept while it serves."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adcaptum.engine.vocabulary.arguments import NO_ARGUMENTS, Arguments, PerExample, Shared
from adcaptum.service.models.output_cache import ROW_BYTES, OutputCache, chosen, row_key

MODULE = nn.Linear(2, 2)
OTHER = nn.Linear(2, 2)


def key(**changes: Any) -> bytes | None:
    given: dict[str, Any] = {
        "module": MODULE,
        "tensors": (torch.tensor([1.0, 2.0]), torch.tensor([[3.0], [4.0]])),
        "arguments": arguments(torch.tensor([[5], [6]])),
        "example": 1,
    }
    return row_key(**{**given, **changes})


def arguments(of_example: Tensor, shared: object = 7) -> Arguments:
    return Arguments((PerExample(of_example), Shared(shared)))


MATTERS: dict[str, Callable[[], bytes | None]] = {
    "model": lambda: key(module=OTHER),
    "bytes": lambda: key(tensors=(torch.tensor([1.0, 2.5]), torch.tensor([[3.0], [4.0]]))),
    "another input's bytes": lambda: key(
        tensors=(torch.tensor([1.0, 2.0]), torch.tensor([[3.0], [4.5]]))
    ),
    "the sign of zero": lambda: key(tensors=(torch.tensor([0.0]), torch.tensor([-0.0]))),
    "shape": lambda: key(tensors=(torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0]]))),
    "dtype": lambda: key(
        tensors=(torch.tensor([1.0, 2.0]).view(torch.int32), torch.tensor([[3.0], [4.0]]))
    ),
    "where an input ends": lambda: key(
        tensors=(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[4.0]]))
    ),
    "order of inputs": lambda: key(
        tensors=(torch.tensor([[3.0], [4.0]]), torch.tensor([1.0, 2.0]))
    ),
    "an example's argument": lambda: key(arguments=arguments(torch.tensor([[5], [8]]))),
    "the example": lambda: key(example=0),
    "an argument of all": lambda: key(arguments=arguments(torch.tensor([[5], [6]]), 8)),
    "the type of an argument": lambda: key(arguments=arguments(torch.tensor([[5], [6]]), 7.0)),
    "no arguments": lambda: key(arguments=NO_ARGUMENTS),
}


@pytest.mark.parametrize("other", MATTERS.values(), ids=MATTERS)
def test_whatever_goes_into_the_model_makes_another_key(other: Callable[[], bytes | None]) -> None:
    assert other() != key()
    assert other() == other()


def test_a_row_is_the_same_wherever_it_stands() -> None:
    table = torch.tensor([[9.0, 9.0], [1.0, 2.0]])
    ours = row_key(MODULE, (torch.tensor([1.0, 2.0]),), NO_ARGUMENTS, 0)
    assert row_key(MODULE, (table[1],), NO_ARGUMENTS, 1) == ours
    assert row_key(MODULE, (table.T.contiguous().T[1],), NO_ARGUMENTS, 1) == ours
    ones = row_key(MODULE, (torch.ones(3),), NO_ARGUMENTS, 0)
    assert row_key(MODULE, (torch.ones(1).expand(3),), NO_ARGUMENTS, 0) == ones


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_rows_of_every_type_have_a_key(dtype: torch.dtype) -> None:
    one, other = torch.ones(2).to(dtype), torch.zeros(2).to(dtype)
    assert row_key(MODULE, (one,), NO_ARGUMENTS, 0) != row_key(MODULE, (other,), NO_ARGUMENTS, 0)


def test_arguments_that_cannot_be_compared_have_no_key() -> None:
    assert key(arguments=Arguments((Shared(object()),))) is None


def test_the_output_of_an_index_is_chosen() -> None:
    outputs = torch.arange(6.0).view(2, 3)
    assert chosen(outputs, (1, 2)) == torch.tensor(5.0)
    assert chosen(torch.tensor([[3.0]]), ()) == torch.tensor(3.0)
    assert chosen(outputs, (2, 0)) is None
    assert chosen(outputs, (-1, 0)) is None
    assert chosen(outputs, (1,)) is None


def test_what_is_kept_is_nobody_elses() -> None:
    known, batch = OutputCache(), torch.ones(4, 2)
    known.put(b"a", batch[1])
    batch.zero_()
    found = known.get(b"a")
    assert found is not None
    assert found.tolist() == [1, 1]
    assert found.untyped_storage().nbytes() == found.nbytes


def test_rows_longest_not_asked_for_go_first() -> None:
    known = OutputCache(max_rows=2)
    known.put(b"a", torch.ones(1))
    known.put(b"b", torch.ones(1))
    known.get(b"a")
    known.put(b"c", torch.ones(1))
    assert [known.get(each) is not None for each in (b"a", b"b", b"c")] == [True, False, True]


def test_memory_is_bounded_whatever_arrives() -> None:
    chance, most = random.Random(0), 20_000
    known = OutputCache(max_bytes=most, max_rows=12)
    for _ in range(2000):
        known.put(bytes([chance.randrange(40)]), torch.zeros(chance.choice([1, 50, 900, 9000])))
        assert known.nbytes <= most
        assert len(known) <= 12
    sizes = [known.get(bytes([i])) for i in range(40)]
    assert known.nbytes == sum(each.nbytes + ROW_BYTES for each in sizes if each is not None)


def test_threads_may_read_and_write_at_the_same_time() -> None:
    known = OutputCache(max_rows=16)

    def use(seed: int) -> list[float]:
        chance, wrong = random.Random(seed), []
        for _ in range(500):
            number = chance.randrange(32)
            known.put(bytes([number]), torch.tensor(float(number)))
            found = known.get(bytes([number]))
            if found is not None and found != number:
                wrong.append(float(found))
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, range(4))) == [[]] * 4
    assert known.nbytes == sum(4 + ROW_BYTES for _ in range(len(known)))
