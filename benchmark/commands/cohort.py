"""Say what a prepared cohort is, or how two differ, nodule by nodule: `python -m benchmark cohort FILE [OTHER]`.

Each is a prepared cohort (.npz) or the digest that stands beside it (.csv), which is small enough to mail. Exit status:
0, 1 where two differ by more than roundings, 2 for bad input.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmark.commandline import Parser
from benchmark.commandline import path as path_of
from benchmark.screen import consoles, guarded, say
from datasets import digest, store
from datasets.digest import Difference, Digest

_SHOWN = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = Parser(prog="python -m benchmark cohort", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("file", type=path_of, metavar="FILE", help="a prepared cohort, .npz, or its digest, .csv")
    parser.add_argument("other", type=path_of, nargs="?", metavar="OTHER", help="the one that it is compared with")

    def run() -> int:
        options, (out, _) = parser.parse_args(argv), consoles()
        first = _opened(options.file)
        _say_what(out, options.file, first)
        if options.other is None:
            return 0
        second = _opened(options.other)
        _say_what(out, options.other, second)
        found = digest.compare(first, second)
        for sentence in sentences(found, len(first.crops.keys() & second.crops.keys())):
            say(out, sentence)
        return int(bool(found.only_first or found.only_second or found.told or found.another))

    return guarded("benchmark.cohort", run)


def _opened(path: Path) -> Digest:
    """Return the digest of a prepared file, whose voxels are read and checked, or what a digest's file says."""
    return digest.read(path) if path.suffix == ".csv" else digest.of(store.load(path))


def _say_what(out: Console, path: Path, one: Digest) -> None:
    say(out, f"{path}: {len(one.crops):,} nodules of {one.title}, source {one.source}, cohort {one.content_hash}")


def sentences(found: Difference, both: int) -> list[str]:
    """Say how two cohorts differ.

    Args:
        found: How.
        both: Nodules that are in both.
    """
    if found.is_one:
        return ["They are one cohort: every voxel, score and rating, and the order of nodules."]
    equal = both - len(found.rounded) - len(found.another)
    said = [f"Of {both:,} nodules in both, {equal:,} have the same voxels to the last bit."]
    for names, where in ((found.only_first, "first"), (found.only_second, "second")):
        if names:
            said.append(f"{len(names):,} nodules are in the {where} alone: {_some(names)}.")
    if found.told:
        said.append(f"Of {len(found.told):,} other scores, ratings, readings or sizes are told: {_some(found.told)}.")
    if found.rounded:
        worst = max(found.rounded.values())
        said.append(
            f"{len(found.rounded):,} have other bits, and means at most {worst:.2f} HU apart, as another processor's "
            f"or library's roundings give: {_some(list(found.rounded))}."
        )
    if found.another:
        worst_first = sorted(found.another.items(), key=lambda one: -one[1])
        listed = [f"{name} ({hu:.2f} HU)" for name, hu in worst_first]
        said.append(f"{len(listed):,} differ by more than roundings do, in a mean of the crop: {_some(listed)}.")
    if len(said) == 1 and equal == both:
        said.append("Their hashes differ by the name of the source or its note, or by the order of nodules, alone.")
    return said


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
