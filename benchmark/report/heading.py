"""What ran on what, with a banner where the numbers are no evidence about CT, about CLIP, or about anything."""

from benchmark.report.gather import Gathered
from benchmark.report.parts import Banner, Chapter, Part, Points, Prose


def mark(run: Gathered) -> str:
    """Return what headings and captions bear where the voxels are no CT."""
    random = ", random text tower" * (run.origin.reads_text and run.origin.tower == "random weights")
    return f" (phantom{random})" if run.file.identity.source == "phantom" else ""


def chapter(run: Gathered) -> Chapter:
    """Say what every number of the page rests on, and what must not be missed in banners."""
    banners, facts = map(Banner, run.origin.warnings()), Points(tuple(run.origin.facts()))
    return Chapter("run", "What ran on what", (*banners, facts, *_state(run)))


def _state(run: Gathered) -> tuple[Part, ...]:
    """Say what is not there."""
    said = []
    if not run.found:
        said.append("This folder holds no record that can be used, so there are no numbers to show.")
    elif absent := [p for p in run.file.protocols if p.label_set not in {spec.label_set for spec in run.found}]:
        said.append(f"No fit has been made yet for {', '.join(protocol.title for protocol in absent)}.")
    if not run.file.finished:
        said.append("The run is not finished: some of the fits that were asked for are still to be made.")
    if run.faults:
        said.append(f"{len(run.faults)} files could not be used; they are listed below.")
    return tuple(map(Prose, said))
