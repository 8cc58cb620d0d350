"""kill -9 in all of a command's life: nothing is lost, nothing is left, and the tables are the unbroken run's."""

import json
import os
import random
import signal
from collections import Counter
from contextlib import suppress

import pytest

from dying import EVENTS, PHASES, phases, wish
from grids import Grid, fresh
from leftovers import files, passing
from moments import killed_at, worked
from owners import held_fast, holders

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc"), reason="counts processes by /proc")

OFTEN = ("--checkpoint-every", "0.000001")  # seconds: at every epoch's end
IN_A_WORKER = ("step", "checkpoint", "checkpoint's rename")
DEATHS_OF_A_GRID = 5  # then it is left in peace, so that there is something to compare


def test_a_driver_that_is_killed_anywhere_loses_nothing_and_leaves_nothing(grid: Grid, tmp_path, many, figures):
    """Every other death comes at a moment drawn from the whole command, the others at each event in turn."""
    draw, met, compared = random.Random(many.seed), Counter[str](), 0
    run, told, deaths = tmp_path / "run", tmp_path / "phases.txt", tmp_path / "deaths"
    there, passed = (
        files(grid.work),
        {*passing(grid.zygote)},
    )  # of other tests
    due, of_this_grid = [*[*EVENTS][::2], *[*EVENTS][1::2]], 0  # the first few are of all phases already
    while met.total() < many.kills or of_this_grid:
        environment = {PHASES: str(told)}
        at_event = met.total() % 2 == 1
        in_peace = of_this_grid == DEATHS_OF_A_GRID or met.total() == many.kills
        if at_event and not in_peace:
            environment |= wish(deaths, due[0])
        told.unlink(missing_ok=True)
        command = grid.start(run, 0, *OFTEN, environment=json.dumps(environment))
        if at_event or in_peace:
            status = grid.zygote.wait(command)
        else:
            moment = grid.span.moment(len(grid.fits(grid.unbroken) - grid.fits(run)), draw)
            status = killed_at(grid.zygote, command, moment)
        assert command.are_gone()
        if status == -signal.SIGKILL:
            met[phases(told)[-1][0] if told.exists() else "planning"] += 1
            of_this_grid += 1
            due = [*due[1:], due[0]] if at_event else due
            continue
        assert status == 0, command.said.read_text()
        grid.check(run)
        fresh(run)
        compared, of_this_grid = compared + 1, 0
    assert met.keys() >= {"planning", "training", "recording", "tables", "report"}
    assert {*passing(grid.zygote)} <= passed and files(grid.work) == there
    figures["kills of the driver, 12 fits, --workers 0"] = {
        "kills": met.total(),
        "in which phase": dict(met),
        "grids compared": compared,
    }


def test_workers_whose_driver_is_killed_end_by_themselves_and_nothing_is_lost(grid: Grid, tmp_path, many, figures):
    run, compared, passed = tmp_path / "run", 0, {*passing(grid.zygote)}
    for number in range(many.kills_with_workers):
        command = grid.start(run, 2)
        with held_fast(run, command):
            command.kill()
            assert grid.zygote.wait(command) == -signal.SIGKILL
        assert command.are_gone()
        if number % DEATHS_OF_A_GRID == DEATHS_OF_A_GRID - 1 or number == many.kills_with_workers - 1:
            grid.finish(run, 2)
            grid.check(run)
            fresh(run)
            compared += 1
    assert {*passing(grid.zygote)} <= passed
    figures["kills of the driver while a worker holds a fit, 12 fits, --workers 2"] = {
        "kills": many.kills_with_workers,
        "grids compared": compared,
    }


def test_a_worker_that_dies_in_a_step_a_checkpoint_or_before_its_rename_costs_nothing(
    grid: Grid, tmp_path, many, figures
):
    run, deaths, passed = tmp_path / "run", tmp_path / "deaths", {*passing(grid.zygote)}
    for number in range(1, many.deaths + 1):
        for event in IN_A_WORKER:  # another step each time; few workers live to see another checkpoint
            environment = wish(deaths, event, number if event == "step" else 1)
        command = grid.start(run, 2, *OFTEN, environment=json.dumps(environment))
        assert grid.zygote.wait(command, 300) == 0, command.said.read_text()
        assert list(deaths.iterdir()) == []  # all of them were died
        assert command.are_gone()
        grid.check(run)
        fresh(run)
    assert {*passing(grid.zygote)} <= passed
    figures["kills of a worker at each event, 12 fits, --workers 2"] = {event: many.deaths for event in IN_A_WORKER}


def test_workers_that_are_killed_at_random_cost_nothing(grid: Grid, tmp_path, many, figures):
    if not many.worker_kills:
        pytest.skip("with --reliability")
    draw, run, killed, compared = random.Random(many.seed), tmp_path / "run", 0, 0
    passed = {*passing(grid.zygote)}
    while killed < many.worker_kills:
        command = grid.start(run, 2, *OFTEN)
        ends = dict[int, float]()  # from the first fit of each
        while (status := grid.zygote.ended(command)) is None:
            for pid in holders(run, command):
                with suppress(OSError):
                    end = ends.setdefault(
                        pid, worked(pid) + draw.uniform(0, len(grid.fits(grid.unbroken)) * grid.span.fit)
                    )
                    if killed < many.worker_kills and worked(pid) >= end:
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
        assert status == 0 and command.are_gone(), command.said.read_text()
        grid.check(run)
        fresh(run)
        compared += 1
    assert {*passing(grid.zygote)} <= passed
    figures["kills of a worker that holds a fit, 12 fits, --workers 2"] = {"kills": killed, "grids compared": compared}
