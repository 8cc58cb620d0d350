"""A process that prepares a cohort from a server, started quickly and killed at a moment that the test chooses."""

import multiprocessing
import os
from collections.abc import Mapping, Sequence

import pytest

import idc
from idc import Patient


def child(patients: Sequence[Patient], objects: Mapping[str, bytes], options: Sequence[str]) -> None:
    """Prepare the cohort of these patients."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with pytest.MonkeyPatch.context() as patch:
        idc.pretend(patch, patients, objects)
        idc.prepare(*options)


def start(
    patients: Sequence[Patient], objects: Mapping[str, bytes], options: Sequence[object]
) -> multiprocessing.process.BaseProcess:
    """Start it, forked from a process that has all modules already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed", "idc", "run_all"])
    process = context.Process(target=child, args=(patients, objects, [str(option) for option in options]))
    process.start()
    return process
