import errno
import os

import pytest

from benchmark.contracts import InputError
from datasets.work import AHEAD, mapping, room


def test_results_come_in_order_from_one_process_or_two():
    for workers in (1, 2):
        with mapping(workers) as mapped:
            assert list(mapped(abs, [-3, -1, 2])) == [3, 1, 2]


def test_no_more_is_begun_than_is_soon_asked_for():
    begun = []

    def given():
        for number in range(200):
            begun.append(number)
            yield number

    with mapping(2) as mapped:
        results = mapped(abs, given())
        assert next(results) == 0 and len(begun) == 2 * AHEAD + 1
        assert list(results) == list(range(1, 200))


def test_one_worker_is_this_process():
    with mapping(1) as mapped:
        assert list(mapped(lambda _: os.getpid(), [0])) == [os.getpid()]


def test_a_dead_worker_is_a_sentence():
    with pytest.raises(InputError, match="a worker process died, of too little memory perhaps"), mapping(2) as mapped:
        list(mapped(os._exit, [1]))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence_that_names_the_folder(tmp_path, number):
    with pytest.raises(InputError, match=f"no space left below {tmp_path}: make room"), room(tmp_path):
        raise OSError(number, "full")


def test_another_error_of_the_system_stays_what_it_is(tmp_path):
    with pytest.raises(PermissionError), room(tmp_path):
        raise PermissionError(errno.EACCES, "denied")
