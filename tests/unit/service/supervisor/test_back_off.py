from adcaptum.service.supervisor.back_off import PAUSES, BackOff


def test_processes_that_serve_for_less_than_they_took_to_start_come_back_later_and_later() -> None:
    back_off = BackOff()
    pauses = []
    for _ in PAUSES:
        back_off.count(born=100.0, served_from=105.0, ended=109.0)
        pauses.append(back_off.pause)
    assert tuple(pauses) == PAUSES
    back_off.count(born=0.0, served_from=None, ended=600.0)
    assert back_off.pause == PAUSES[-1]


def test_a_process_that_served_for_as_long_as_it_took_to_start_is_no_loop() -> None:
    back_off = BackOff()
    for _ in range(50):
        back_off.count(born=100.0, served_from=105.0, ended=110.0)
        assert back_off.pause == 0.0
    for _ in range(5):
        back_off.count(born=0.0, served_from=None, ended=1.0)
    back_off.count(born=0.0, served_from=300.0, ended=305.0)
    assert back_off.pause > 0.0
    back_off.count(born=100.0, served_from=105.0, ended=110.0)
    assert back_off.pause == 0.0
