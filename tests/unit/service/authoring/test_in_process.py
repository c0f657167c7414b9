"""Serving from a script: a server in a thread of this process."""

import asyncio
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adcaptum.client import AsyncClient, Client, Unavailable
from adcaptum.service import serve
from adcaptum.service.authoring.errors import AuthoringError
from adcaptum.service.models.loaders.in_process import MODULES

ROWS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_a_module_answers_and_can_be_explained() -> None:
    module = net().train()
    with serve({"net": module}, examples={"net": ROWS}, labels={"net": ["a", "b", "c"]}) as serving:
        assert serving.address.startswith("127.0.0.1:")
        with Client(serving.address) as client:
            outputs = client.predict("net", ROWS.numpy()).outputs["output"]
            why = client.explain("net", ROWS[:1].numpy(), methods="input_x_gradient", targets="b")
    np.testing.assert_allclose(outputs, module(ROWS).detach().numpy(), rtol=1e-5)
    row = ROWS[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(row)[0, 1], row)
    expected = (gradient * row).detach().numpy()[0]
    np.testing.assert_allclose(why[0].attributions["input"].values, expected, rtol=1e-4)


def test_the_module_stays_as_it_was() -> None:
    module = net().train()
    with serve({"net": module}, examples={"net": ROWS}) as serving, Client(serving.address) as ask:
        before = ask.predict("net", ROWS.numpy()).outputs["output"]
        with torch.no_grad():
            module[2].bias += 1  # type: ignore[index] # of a Sequential
        after = ask.predict("net", ROWS.numpy()).outputs["output"]
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    np.testing.assert_array_equal(before, after)


def test_closing_ends_the_thread_and_forgets_the_module() -> None:
    serving = serve({"net": net()}, examples={"net": ROWS})
    address = serving.address
    serving.close()
    serving.close()
    assert "adcaptum" not in [thread.name for thread in threading.enumerate()]
    assert not MODULES
    assert "closed" in repr(serving)
    with Client(address, max_attempts=1) as client, pytest.raises(Unavailable):
        client.predict("net", ROWS.numpy())


def test_two_servers_run_side_by_side() -> None:
    with (
        serve({"one": net()}, examples={"one": ROWS}) as one,
        serve({"two": net()}, examples={"two": ROWS}) as two,
    ):
        for name, address in (("one", one.address), ("two", two.address)):
            with Client(address) as client:
                assert [model.name for model in client.models()] == [name]


def test_an_asynchronous_client_of_the_same_process_is_answered() -> None:
    async def ask(address: str) -> tuple[int, ...]:
        async with AsyncClient(address) as client:
            return (await client.predict("net", ROWS.numpy())).outputs["output"].shape

    with serve({"net": net()}, examples={"net": ROWS}) as serving:
        assert asyncio.run(ask(serving.address)) == (5, 3)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: Tensor, scale: Tensor) -> Tensor:
        return self.head(self.words(ids).mean(1) * scale).softmax(1)


def test_inputs_take_the_names_of_the_arguments_and_ids_their_embedding() -> None:
    examples = [np.array([[1, 2, 3]]), np.ones((1, 4))]
    with (
        serve({"pair": Pair()}, examples={"pair": examples}) as serving,
        Client(serving.address) as client,
    ):
        model = client.model("pair").default
    assert [(each.name, each.datatype) for each in model.inputs] == [
        ("ids", "INT64"),
        ("scale", "FP32"),
    ]
    assert model.inputs[0].embedding_layer == "words"
    assert model.outputs[0].kind == "probabilities"


@pytest.mark.parametrize(
    ("examples", "labels", "reason"),
    [
        ({}, {}, "examples: there are none of 'net'"),
        ({"net": ROWS[0, 0]}, {}, "its first dimension must be the batch"),
        ({"net": ROWS[:, :3]}, {}, "net: forward raised RuntimeError"),
        ({"net": ROWS, "nett": ROWS}, {}, "there is no model 'nett'; there are net"),
        ({"net": ROWS}, {"net": ["a"]}, "there are 1 labels: must be one for each class"),
        ({"net": ROWS.to(torch.complex64)}, {}, "is of torch.complex64; must be one of"),
    ],
)
def test_what_cannot_be_served_is_told(
    examples: dict[str, Tensor], labels: dict[str, list[str]], reason: str
) -> None:
    with pytest.raises(AuthoringError) as caught:
        serve({"net": net()}, examples=examples, labels=labels)
    assert reason in str(caught.value)
    assert not MODULES


def test_a_setting_that_is_wrong_is_told() -> None:
    with pytest.raises(AuthoringError, match="port: Input should be less than or equal to 65535"):
        serve({"net": net()}, examples={"net": ROWS}, port=70_000)


def test_a_model_that_does_not_load_is_told() -> None:
    module = net()
    with torch.no_grad():
        module[0].weight[0, 0] = torch.nan  # type: ignore[index] # of a Sequential
    with pytest.raises(AuthoringError, match=r"'net' cannot be served: .*1 of 32 numbers are not"):
        serve({"net": module}, examples={"net": ROWS})
    assert "adcaptum" not in [thread.name for thread in threading.enumerate()]
