import pytest
import torch

from benchmark.memory import ran_out, with_less_memory
from benchmark.step import TrainingFailed

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")


def attempts(batch_size: int, holds: int, error: Exception = FULL) -> tuple[int | None, list[int | None]]:
    """Return what came of it, and what was tried, where memory holds so many nodules."""
    tried: list[int | None] = []

    def attempt(micro_batch: int | None) -> int | None:
        tried.append(micro_batch)
        if (micro_batch or batch_size) > holds:
            raise error
        return micro_batch

    return with_less_memory(attempt, batch_size), tried


@pytest.mark.parametrize(
    ("batch_size", "holds", "tried"),
    [(32, 32, [None]), (32, 16, [None, 16]), (32, 5, [None, 16, 8, 4]), (33, 9, [None, 17, 9]), (3, 2, [None, 2])],
)
def test_each_attempt_takes_half_as_many_until_memory_holds_them(batch_size, holds, tried):
    assert attempts(batch_size, holds) == (tried[-1], tried)


@pytest.mark.parametrize("batch_size", [2, 3, 32])
def test_with_two_nodules_it_gives_up_and_says_what_was_needed(batch_size):
    with pytest.raises(TrainingFailed) as failed:
        attempts(batch_size, holds=1)
    assert str(failed.value) == (
        "out of memory even with 2 nodules at once: CUDA out of memory. Tried to allocate 2.00 GiB."
    )


def test_what_is_no_lack_of_memory_is_raised_at_once():
    with pytest.raises(RuntimeError, match="a bug"):
        attempts(32, holds=0, error=RuntimeError("a bug"))


def test_the_hosts_own_lack_of_memory_is_known():
    with pytest.raises(RuntimeError) as failed:
        torch.empty(10**15)
    assert ran_out(failed.value) and not ran_out(RuntimeError("no"))


def test_what_a_failed_attempt_held_is_gone_before_the_next():
    import weakref

    held = []

    def attempt(micro_batch: int | None) -> None:
        assert not [one for one in held if one() is not None]
        large = torch.ones(3)
        held.append(weakref.ref(large))
        if micro_batch is None:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with_less_memory(attempt, 8)
    assert len(held) == 2
