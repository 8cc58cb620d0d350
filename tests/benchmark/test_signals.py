"""What a process does with a signal: each in a process of its own."""

import subprocess
import sys

import pytest

from benchmark.identity import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="speaks of POSIX signals")

HEAD = """
import multiprocessing, os, signal, sys, threading, time
from benchmark import signals
from benchmark.signals import end_if_stopped, kept_from_children, stoppable

for one in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(one, signal.SIG_DFL)  # whoever started the tests, in the background perhaps, may have it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)

def tell(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)

def deaf():
    "Do not give way to a signal."
    while True:
        try:
            print("deaf", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            tell_again and tell(signal.SIGTERM)
"""


def said(script: str) -> tuple[int, str]:
    """Return the exit status and the words of a process."""
    ended = subprocess.run([sys.executable, "-c", HEAD + script], capture_output=True, text=True, cwd=ROOT, timeout=50)
    return ended.returncode, " ".join((ended.stdout + ended.stderr).split())


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_a_signal_ends_the_block_and_then_the_process(name):
    script = f"""
try:
    with stoppable():
        tell(signal.{name})
        print("not heard")
except KeyboardInterrupt:
    print("cleaned up", flush=True)
end_if_stopped()
print("not ended")
"""
    assert said(script) == (130, "cleaned up")


def test_a_second_signal_after_the_block_ends_the_process_too():
    script = """
try:
    with stoppable():
        tell(signal.SIGINT)
except KeyboardInterrupt:
    tell(signal.SIGTERM)
print("not ended")
"""
    assert said(script) == (130, "")


def test_who_gives_way_is_not_held_up_by_the_clock_that_would_end_it():
    script = """
signals._GRACE_S = 60
try:
    with stoppable():
        tell(signal.SIGINT)
except KeyboardInterrupt:
    print("gave way")
"""
    assert said(script) == (0, "gave way")


def test_a_signal_that_the_caller_ignores_stays_ignored():
    script = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nwith stoppable():\n    tell(signal.SIGHUP)\nprint('goes on')"
    )
    assert said(script) == (0, "goes on")


def test_without_a_signal_all_handlers_are_what_they_were():
    script = """
before = [signal.getsignal(one) for one in signal.Signals]
with stoppable():
    pass
end_if_stopped()
print(before == [signal.getsignal(one) for one in signal.Signals])
"""
    assert said(script) == (0, "True")


@pytest.mark.parametrize(("tell_again", "grace_s"), [(True, 60), (False, 0.1)])
def test_who_does_not_give_way_is_ended_by_a_second_signal_or_after_some_time(tell_again, grace_s):
    script = f"""
tell_again, signals._GRACE_S = {tell_again}, {grace_s}
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
with stoppable():
    deaf()
"""
    assert said(script)[0] == 130


def test_the_clock_leaves_some_of_the_ten_seconds_that_are_promised():
    assert said("print(0 < signals._GRACE_S < 10)") == (0, "True")


def test_processes_below_it_are_ended_too_whatever_they_ignore():
    script = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which a child has from its parent
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
child.start()
print(child.pid, flush=True)
signals.end()
"""
    status, pid = said(script)  # which waits for whoever has its output
    assert status == 130 and pid.isdecimal()


def test_another_thread_than_the_first_may_be_stoppable_and_hears_nothing():
    script = """
def work():
    with stoppable():
        print("done")
thread = threading.Thread(target=work)
thread.start(), thread.join()
"""
    assert said(script) == (0, "done")


def test_a_signal_that_was_kept_before_is_kept_afterwards():
    script = """
before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}) | {signal.SIGUSR1}
with kept_from_children():
    pass
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before)
"""
    assert said(script) == (0, "True")


def test_children_of_the_block_hear_no_terminal_and_the_process_itself_does_afterwards():
    script = """
from multiprocessing import resource_tracker
from subprocess import check_output
ask = [sys.executable, "-c", "import signal; print(*sorted(signal.pthread_sigmask(0, ())))"]
with kept_from_children():
    there = check_output(ask, text=True).split()
    tracked = resource_tracker._resource_tracker._pid is not None
after = check_output(ask, text=True).split()
kept = sorted(map(int, (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)))
print(there == list(map(str, map(signal.Signals, kept))), tracked, after == [])
"""
    assert said(script) == (0, "True True True")
