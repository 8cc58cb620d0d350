"""Mutation testing: does a test notice when a line changes? README.md beside this file says what counts."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cosmic_ray.work_item import WorkerOutcome
from forks import LIMIT_S, Nursery, Refused, Trial, Verdict
from mutants import Mutant, Session, mutants_of, read_rooms, shuffled
from planted import PLANTED
from report import Explanations, Tally, survivors, table, tally

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_LEAST_SHARE = 0.9
_SLACK = 3  # a busy machine must not look like a kill: a slow room's mutants have this many times its own seconds
_PATIENCE_S = 600.0


def check(nursery: Nursery, rooms: set[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    """See that the tests pass on the tree as it is; return the seconds that each room's mutants have.

    Raises:
        Refused: They do not.
    """
    limits = {}
    nursery.warm(sorted({test for tests in rooms for test in tests}))
    for outcome in nursery.run(Trial(" ".join(tests), tests, limit_s=_PATIENCE_S) for tests in sorted(rooms)):
        if outcome.verdict is not Verdict.PASSED:
            tail = "\n".join(outcome.output.splitlines()[-30:])
            raise Refused(
                f"{tail}\n{outcome.trial.name}: {outcome.verdict.value} on the tree as it is; that comes first"
            )
        limits[outcome.trial.tests] = max(LIMIT_S, _SLACK * outcome.seconds)
    return limits


def plant(nursery: Nursery) -> list[str]:
    """Run the planted mutants; return the names of those that live."""
    alive = []
    for outcome in nursery.run([planted.trial(ROOT) for planted in PLANTED]):
        lives = outcome.verdict is Verdict.PASSED
        print(f"planted: {outcome.trial.name}: {'SURVIVED' if lives else 'killed'} ({outcome.seconds:.1f} s)")
        alive += [outcome.trial.name] * lives
    return alive


def test(nursery: Nursery, session: Session, pending: Sequence[Mutant], limits: dict[tuple[str, ...], float]) -> None:
    """Run the mutants and keep their results as they come."""
    by_id = {mutant.job_id: mutant for mutant in pending}
    start = time.monotonic()
    trials = (mutant.trial(limits[mutant.room.tests]) for mutant in pending)
    for done, outcome in enumerate(nursery.run(trials), start=1):
        session.keep(outcome, by_id[outcome.trial.name])
        if done % 50 == 0 or done == len(pending):
            print(f"{done} of {len(pending)} mutants, {time.monotonic() - start:.0f} s", file=sys.stderr)


def main() -> int:
    """Run the command; return its exit status."""
    rooms = read_rooms(HERE / "rooms.toml", ROOT)
    known = Explanations.read(HERE / "survivors.toml")
    arguments = _arguments([room.module for room in rooms])
    chosen = [room for room in rooms if not arguments.module or room.module in arguments.module]
    mutants = [mutant for room in chosen for mutant in mutants_of(room)]
    with Session(arguments.session) as session, Nursery(ROOT, arguments.jobs) as nursery:
        if arguments.sample:
            mutants = shuffled(mutants, arguments.seed)
        pending = session.pending(mutants, arguments.sample)
        limits = check(nursery, {planted.tests for planted in PLANTED} | {mutant.room.tests for mutant in pending})
        planted_alive = plant(nursery)
        test(nursery, session, pending, limits)
        mutants = _drawn(mutants, session, arguments.sample)
        results = session.results
        rows = {r.module: tally([m for m in mutants if m.room is r], results, known) for r in chosen}
        print("", *table(rows), "", *survivors(mutants, results, known), *known.stale(chosen), "", sep="\n")
        whole = {"the sample": tally(mutants, results, known)}
        return _status(whole if arguments.sample else rows, planted_alive)


def _drawn(mutants: Sequence[Mutant], session: Session, wanted: int | None) -> list[Mutant]:
    tested = [m for m in mutants if m.job_id in session.results]
    real = [m for m in tested if session.results[m.job_id].worker_outcome != WorkerOutcome.SKIPPED]
    return real[:wanted]


def _status(shares: dict[str, Tally], planted_alive: Sequence[str]) -> int:
    low = [name for name, row in shares.items() if row.share < _LEAST_SHARE]
    for name in low:
        print(f"{name}: {shares[name].share:.1%} killed, less than {_LEAST_SHARE:.0%}")
    for name in planted_alive:
        print(f"planted: {name}: no test noticed")
    return 1 if low or planted_alive else 0


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _arguments(modules: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", nargs="+", action="extend", choices=modules, metavar="M", help="only these modules")
    parser.add_argument("--sample", type=_positive, metavar="N", help="that many mutants, drawn over all modules")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample (default 0)")
    parser.add_argument("--jobs", type=_positive, default=2, help="children at a time (default 2)")
    parser.add_argument("--session", type=Path, default=ROOT / ".mutation.sqlite", help="where results are kept")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no child outlives a cancelled run
    try:
        sys.exit(main())
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
