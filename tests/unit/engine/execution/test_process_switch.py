"""Settings of the process: together in one position, never in both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from time import sleep

import pytest

from adcaptum.engine.execution.devices import process_switch
from adcaptum.engine.execution.devices.process_switch import ProcessSwitch


class Setting:
    """A setting that tells how it was set."""

    def __init__(self) -> None:
        self.on: bool | None = None
        self.told: list[bool | None] = []

    @contextmanager
    def position(self, on: bool) -> Iterator[None]:
        assert self.on is None, "it is left before it is set again"
        self.on = on
        self.told.append(on)
        try:
            yield
        finally:
            self.on = None
            self.told.append(None)


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_those_that_want_the_same_hold_it_together(setting: Setting) -> None:
    switch = ProcessSwitch(setting.position)
    with switch.held(on=True), switch.held(on=True):
        assert setting.on is True
    assert setting.told == [True, None]
    with switch.held(on=False):
        assert setting.on is False
    assert setting.on is None


def test_it_is_left_after_an_error(setting: Setting) -> None:
    switch = ProcessSwitch(setting.position)
    with pytest.raises(ArithmeticError), switch.held(on=True):
        raise ArithmeticError
    with switch.held(on=False):
        assert setting.on is False


def test_no_thread_ever_sees_the_other_position(setting: Setting) -> None:
    switch, chance, wrong = ProcessSwitch(setting.position), Random(0), list[bool]()
    wanted = [[chance.random() < 0.5 for _ in range(50)] for _ in range(4)]

    def run(mine: list[bool]) -> None:
        for on in mine:
            with switch.held(on=on):
                before = setting.on
                sleep(1e-4)
                wrong.extend(on for seen in (before, setting.on) if seen is not on)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_one_that_waits_goes_before_later_ones(setting: Setting) -> None:
    switch, order, first = ProcessSwitch(setting.position), list[str](), threading.Event()

    def enter(name: str, on: bool) -> None:
        with switch.held(on=on):
            order.append(name)

    with switch.held(on=False):
        waiting = threading.Thread(target=enter, args=("on", True))
        waiting.start()
        while switch._entry.acquire(blocking=False):
            switch._entry.release()
        later = threading.Thread(target=enter, args=("off", False))
        later.start()
        first.wait(0.05)
        assert order == []
    waiting.join()
    later.join()
    assert order == ["on", "off"]


def test_what_never_ends_holds_up_those_that_want_the_other_position_only(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_switch, "PATIENCE", 0.01)
    switch, entered = ProcessSwitch(setting.position), list[str]()

    def enter() -> None:
        with switch.held(on=True):
            entered.append("on")

    with switch.held(on=False):
        waiting = threading.Thread(target=enter)
        waiting.start()
        for _ in range(5):
            with switch.held(on=False):
                entered.append("off")
        assert entered == ["off"] * 5
    waiting.join()
    assert entered[-1] == "on"
