"""The page: chapters in their order, one template, one file that asks nobody for anything.

A new chapter is a file with a function from what was gathered to a `Chapter`, and a line in `CHAPTERS`.
"""

import re
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.contracts import InputError
from benchmark.figures import folder as drawn
from benchmark.files import footed, sha256, unfooted, write_atomically
from benchmark.report import (
    comparisons,
    evidence,
    figures,
    habits,
    heading,
    inside,
    limits,
    missing,
    pooled,
    quality,
    repeat,
    results,
    rows,
    variants,
    verdict,
)
from benchmark.report.gather import Gathered, Known, gather, hashes
from benchmark.report.parts import Chapter

NAME = "report.html"
TEMPLATE = Path(__file__).with_name("template")
CHAPTERS: tuple[Callable[[Gathered], Chapter], ...] = (
    heading.chapter,
    verdict.chapter,
    results.chapter,
    rows.chapter,
    comparisons.chapter,
    pooled.chapter,
    variants.chapter,
    quality.chapter,
    limits.chapter,
    habits.chapter,
    figures.chapter,
    inside.chapter,
    missing.chapter,
    repeat.chapter,
    evidence.chapter,
)
_COMMENT = "<!-- {} -->"
_HEAD = 2000  # bytes of a page, in which its first lines say what it was made from


def write(folder: Path, known: Known, file: Path | None = None) -> bool:
    """Make a run's report unless it is there whole, made from the same files by the same code; return if it was made.

    Its last line is a comment with the hash of all above it.

    Args:
        folder: Of the run.
        known: What the composition root knows.
        file: Where to write it; `report.html` in the folder if None.

    Raises:
        InputError: There is no run, or its run.json is damaged.
    """
    file = folder / NAME if file is None else file
    made_from = _made_from(folder, known)
    if _is_made_from(file, made_from):
        return False
    write_atomically(file, footed(page(gather(folder, known), made_from).encode(), _COMMENT))
    return True


def page(run: Gathered, made_from: str = "") -> str:
    """Return the page; the same bytes for the same records."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    identity = run.file.identity
    chapters = [chapter for make in CHAPTERS if (chapter := make(run)).parts]
    html = environment.get_template("page.html.j2").render(
        title=f"{identity.collection} ({identity.source}), preset {identity.preset}"
        + ", folds ignore patients" * identity.splits_patients,
        chapters=chapters,
        made_from=made_from,
        mark=heading.mark(run),
        style=Markup((TEMPLATE / "style.css").read_text("utf-8")),
        script=Markup((TEMPLATE / "page.js").read_text("utf-8")),
    )
    return html.lstrip()


def code_files() -> list[Path]:
    """Return the files whose change makes every page anew: this package, and the rooms that it builds on."""
    package = Path(__file__).resolve().parents[1]
    found = [*package.glob("*.py"), *(package / "contracts").glob("*.py"), *(package / "report").rglob("*.*")]
    found.append(Path(drawn.__file__))
    return sorted(path for path in found if path.suffix in (".py", ".j2", ".css", ".js"))


def _made_from(folder: Path, known: Known) -> str:
    """Return a hash of all that decides the page: the run's files, this code, and what the composition root knows."""
    files = [sha256(path.read_bytes()) for path in code_files()]
    rows = [(row.key, row.title, row.kind, row.losses, row.traits.doc) for row in known.rows.values()]
    about = rows, dict(known.rules), dict(known.notes), known.papers
    return sha256(repr((sorted(hashes(folder).items()), files, about)))


def _is_made_from(file: Path, made_from: str) -> bool:
    """Say whether a page is there, whole, and made from what would make it now."""
    try:
        html = unfooted(file.read_bytes(), _COMMENT)
    except (FileNotFoundError, ValueError):
        return False
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): see to it, or move it away") from error
    said = re.search(rb'name="made-from" content="(\w*)"', html[:_HEAD])
    return said is not None and said[1] == made_from.encode()
