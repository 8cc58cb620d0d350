import os
import re
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in run_all.py: tensors are tiny, and tests share the cores

import pytest
import torch
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

# Anyone's run looks for new counterexamples; CI repeats the same ones, so that a commit stands or falls by itself.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


# Nothing is written into the checkout: not what hypothesis remembers, nor cohorts and times of runs that name no place.
_OURS = tempfile.TemporaryDirectory(prefix="lung-nodule-tests-", ignore_cleanup_errors=True)
set_hypothesis_home_dir(Path(_OURS.name, "hypothesis"))
os.environ["LUNG_NODULE_BENCHMARK_WORK"] = str(Path(_OURS.name, "work"))

# Sockets of this process are pytest-socket's matter (pyproject.toml), those of processes below it sitecustomize's.
_OFFLINE = str(Path(__file__).parent / "support" / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_OFFLINE, os.environ.get("PYTHONPATH")]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-windows", action="store_true", help="cut every window of 5 to 20 patients, not 500 of them (minutes)"
    )
    parser.addoption(
        "--strangers", type=int, default=40, help="how often strangers knock on each port of a run (1,000: minutes)"
    )
    parser.addoption(
        "--large-cohort", action="store_true", help="read 100,000 nodules from a sparse file, not 1,500 (a minute)"
    )
    parser.addoption(
        "--many-command-lines", action="store_true", help="generate 3,000 command lines and presets, not 400"
    )
    parser.addoption(
        "--each-surrounding", action="store_true", help="take each unusual surrounding alone, not several at a time"
    )
    parser.addoption(
        "--all-faults", action="store_true", help="play 300 schedules of a store's faults, not 60 of them (minutes)"
    )
    parser.addoption(
        "--damages",
        type=int,
        metavar="N",
        help="damage files in so many ways (500; with --reliability 20,000: minutes)",
    )
    parser.addoption("--every-write", action="store_true", help="fail every write of a run, not each ninth (minutes)")
    larger = "the larger figures of tests/reliability, written to results/golden/reliability.json (hours)"
    parser.addoption("--reliability", action="store_true", help=larger)


# What another process may name otherwise: an address, and packed bytes, which hold the time.
_NO_NAME = re.compile(r" at 0x|(\\+x[0-9a-f]{2}){2}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests that each process would name otherwise; skip what needs a card, where there is none."""
    if changing := [item.nodeid for item in items if _NO_NAME.search(item.nodeid)]:
        raise pytest.UsageError(
            f"{changing[0]} has an address or bytes in its name ({len(changing)} tests have): each process would name "
            "it otherwise, and the tests are shared out by name; give parametrize ids"
        )
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and this machine has none"))
