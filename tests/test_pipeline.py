"""Work in a second thread: in order, bounded, and with its errors raised where the items come from."""

import threading
import time

import pytest

from talkface.pipeline import WAITING, Beside


def test_items_are_worked_on_in_order_in_another_thread():
    seen, threads = [], set()

    def work(item):
        threads.add(threading.current_thread())
        seen.append(item)

    with Beside(work) as beside:
        finished = sum(beside.put(number) for number in range(20)) + beside.finish()
    assert seen == list(range(20))
    assert finished == 20
    assert threading.current_thread() not in threads
    assert len(threads) == 1


def test_only_a_few_items_wait():
    """The producer is held up by a slow worker, so memory does not grow."""
    put, most = [], []

    def work(item):
        time.sleep(0.002)
        most.append(len(put) - item)

    with Beside(work) as beside:
        for number in range(30):
            put.append(number)
            beside.put(number)
        beside.finish()
    assert max(most) <= WAITING + 2


def test_an_error_of_the_work_is_raised_by_a_later_call_and_stops_the_rest():
    done = []

    def work(item):
        if item == 2:
            raise ValueError("no space")
        done.append(item)

    def produce():
        with Beside(work) as beside:
            for number in range(100):
                beside.put(number)
            beside.finish()

    with pytest.raises(ValueError, match="no space"):
        produce()
    assert len(done) <= WAITING + 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_of_the_producer_drops_what_waits_and_ends_the_thread(error):
    started, release, done = threading.Event(), threading.Event(), []

    def work(item):
        started.set()
        release.wait(5)
        done.append(item)

    def produce():
        with Beside(work) as beside:
            beside.put(0)
            beside.put(1)
            started.wait(5)
            release.set()
            raise error

    with pytest.raises(error):
        produce()
    assert done in ([0], [0, 1])
    assert not any(thread.name.startswith("beside") for thread in threading.enumerate())
