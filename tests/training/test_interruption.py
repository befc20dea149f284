"""Which signals stop a run, and which kill it."""

import os
import signal

import pytest

from keras_sepnets.training.interruption import StopNow, handled_signals


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_for_the_end_of_the_step(number):
    before = signal.getsignal(number)
    with handled_signals() as interruption:
        interruption.stops_between_steps = True
        interruption.stop_if_asked()
        send(number)
        assert interruption.signal == number
        with pytest.raises(StopNow):
            interruption.stop_if_asked()
    assert signal.getsignal(number) is before


def test_a_terminal_that_closes_may_send_several_signals():
    with handled_signals() as interruption:
        interruption.stops_between_steps = True
        send(signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP)
        assert interruption.signal == signal.SIGHUP
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # another one kills


def test_a_second_ctrl_c_kills():
    with handled_signals() as interruption:
        interruption.stops_between_steps = True
        send(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_before_the_first_step_a_signal_ends_the_run_at_once():
    with handled_signals(), pytest.raises(StopNow):
        send(signal.SIGHUP)


def test_nohup_still_works():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled_signals() as interruption:
            send(signal.SIGHUP)
            assert interruption.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
