import pickle
from types import SimpleNamespace

import pytest
import torch

from benchmark import devices
from benchmark.contracts import InputError
from benchmark.devices import Unfit, answering, turn_of, worker_device

CARD = torch.device("cuda:1")


def worker(name: object) -> SimpleNamespace:
    return SimpleNamespace(name=name, address="tcp://here:1")


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(devices, "_ANSWERED", set())


@pytest.mark.parametrize(
    ("name", "device"), [(0, "cuda:0"), (1, "cuda:1"), (2, "cuda:2"), (3, "cuda:0"), ("1", "cuda:1")]
)
def test_local_workers_share_cards_out_by_their_number(monkeypatch, name, device):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("distributed.get_worker", lambda: worker(name))
    assert worker_device("cuda") == device
    assert worker_device("cuda:2") == "cuda:2" and worker_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("cards", "workers", "dealt"),
    [(1, 4, {"cuda": 4}), (2, 4, {"cuda:0": 2, "cuda:1": 2}), (2, 5, {"cuda:0": 3, "cuda:1": 2}), (4, 4, None)],
)
def test_more_workers_than_cards_share_them_evenly(monkeypatch, cards, workers, dealt):
    monkeypatch.setattr("torch.cuda.device_count", lambda: cards)
    given = []
    for name in range(workers):
        monkeypatch.setattr("distributed.get_worker", lambda name=name: worker(name))
        given.append(worker_device("cuda"))
    assert {device: given.count(device) for device in given} == (dealt or {f"cuda:{n}": 1 for n in range(4)})


def test_two_local_workers_have_two_cards_and_outside_a_worker_there_is_no_sharing(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert worker_device("cuda") == "cuda"
    assert {turn_of(name) % 2 for name in (0, 1)} == {0, 1}
    assert turn_of("tcp://10.0.0.1:1234") == turn_of("tcp://10.0.0.1:1234")


def test_a_device_that_answers_is_given_back():
    assert answering(torch.device("cpu")) == torch.device("cpu")


def gone(device: torch.device) -> None:
    raise torch.AcceleratorError("CUDA error: device is gone\nand more")


def test_a_fresh_worker_whose_device_does_not_answer_is_unfit_and_says_so_across_processes(monkeypatch):
    monkeypatch.setattr("distributed.get_worker", lambda: worker(0))
    with pytest.raises(Unfit) as raised:
        answering(CARD, gone)
    travelled = pickle.loads(pickle.dumps(raised.value))
    assert travelled.reason == "the device cuda:1 does not answer (CUDA error: device is gone)"
    assert (travelled.worker, travelled.replaceable) == ("tcp://here:1", False)


def test_a_worker_that_lost_a_device_on_which_it_worked_is_to_be_replaced(monkeypatch):
    monkeypatch.setattr("distributed.get_worker", lambda: worker(0))
    answering(CARD, lambda device: None)
    for device, replaceable in ((CARD, True), (torch.device("cuda:0"), False)):  # on the other it never worked
        with pytest.raises(Unfit) as raised:
            answering(device, gone)
        assert raised.value.replaceable is replaceable


def test_where_there_is_no_worker_to_replace_a_lost_device_ends_the_run():
    answering(CARD, lambda device: None)
    with pytest.raises(InputError, match=r"cuda:1 does not answer \(CUDA error: device is gone\); what is finished is"):
        answering(CARD, gone)


def test_a_device_that_is_full_is_there():
    def full(device: torch.device) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert answering(CARD, full) == CARD


def test_what_is_no_matter_of_the_device_is_raised():
    def broken(device: torch.device) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        answering(CARD, broken)
