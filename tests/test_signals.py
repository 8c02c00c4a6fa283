"""Signals that are held back."""

import os
import signal
import threading

import pytest

from talkface.signals import ending_signals, held_back


class Told(Exception):
    pass


@pytest.fixture(params=ending_signals())
def number(request):
    def tell(number, frame):
        raise Told

    before = signal.signal(request.param, tell)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_inside_the_block_is_handled_at_its_end(number):
    reached = []

    def work():
        with held_back():
            os.kill(os.getpid(), number)
            reached.append(True)

    with pytest.raises(Told):
        work()
    assert reached
    with pytest.raises(Told):
        os.kill(os.getpid(), number)


def test_an_ignored_signal_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with held_back():
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


def test_an_error_of_the_block_is_raised_and_the_handlers_are_restored(number):
    with pytest.raises(ZeroDivisionError), held_back():
        _ = 1 / 0
    with pytest.raises(Told):
        os.kill(os.getpid(), number)


def test_in_another_thread_nothing_is_held_back():
    done = []

    def work():
        with held_back():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
