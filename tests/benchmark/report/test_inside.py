"""The chapter that shows what trained methods look at, from files in the run's folder."""

from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest

import datasets
import methods
from benchmark import references
from benchmark.figures.folder import Line, csv_text
from benchmark.records import FitSpec
from benchmark.report import Known, page, write
from benchmark.report.gather import gather, hashes
from benchmark.run import Run
from datasets.protocols import LABEL_RULES
from pages import Page
from runs import write_run

KNOWN = Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES)
SPEC = FitSpec("three", "ce", 0, 0)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
PNG = b"\x89PNG of some kind"


def line(share: str, value: float, low: float, high: float, **changes) -> Line:
    return replace(Line("three", "ce", 0, 0, "w" * 64, "<b>CE", 40, 2, share, value, low, high), **changes)


LINES = [line("inside", 0.25, 0.2, 0.3), line("area", 0.1, 0.1, 0.1), line("alike", 0.4, 0.3, 0.5, left_out=0)]


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    made = write_run(folder, {"ce": 0.55}, tested=30)
    record = made.read(SPEC)
    made.write(replace(record, metadata=replace(record.metadata, weights="w" * 64)), b"weights")
    return folder


@pytest.fixture
def drawn(run) -> Path:
    (run / "figures").mkdir()
    (run / "figures" / "tsne.svg").write_bytes(SVG)
    (run / "figures" / "attention.png").write_bytes(PNG)
    (run / "figures" / "shares.csv").write_text(csv_text(LINES, "A phantom, and random text."))
    (run / "figures" / "mine.svg").write_bytes(b"not ours")
    return run


def of(folder: Path) -> Page:
    return Page(page.page(gather(folder, KNOWN)))


def test_figures_are_in_the_page_itself_with_captions_and_words_for_who_does_not_see_them(drawn):
    parsed = of(drawn)
    pictures = [found for found, _ in parsed.all("img")]
    heads, contents = zip(*(found["src"].split(",") for found in pictures), strict=True)
    assert heads == ("data:image/svg+xml;base64", "data:image/png;base64")
    assert [b64decode(content) for content in contents] == [SVG, PNG]
    assert all(len(found["alt"]) > 40 for found in pictures)
    assert "Grad-CAM of the predicted class on the same nodules" in parsed.text
    assert "A phantom, and random text." in parsed.text
    policy = next(found["content"] for found, _ in parsed.all("meta") if "http-equiv" in found)
    assert "img-src data:" in policy and "not have any more" not in parsed.text


def test_shares_stand_in_percent_in_tables_of_their_own(drawn):
    tables = [text for _, text in of(drawn).all("table")]
    attention = next(" ".join(text.split()) for text in tables if "Attention inside the outline" in text)
    assert attention.endswith("<b>CE40 (2 left out)25.0 (20.0 to 30.0)10.0----")
    neighbours = next(" ".join(text.split()) for text in tables if "Nearest neighbours" in text)
    assert neighbours.endswith("<b>CE4040.0 (30.0 to 50.0)-")


def test_a_method_whose_maps_are_all_zero_stands_in_the_table_without_a_share(drawn):
    blind = line("alike", 0.3, 0.2, 0.4, title="Blind", method="blind")
    (drawn / "figures" / "shares.csv").write_text(csv_text([*LINES, blind], "note"))
    attention = next(" ".join(text.split()) for _, text in of(drawn).all("table") if "Attention inside" in text)
    assert attention.endswith("Blind0------")


def test_without_outlines_there_is_no_table_of_attention(drawn):
    (drawn / "figures" / "shares.csv").write_text(csv_text(LINES[2:], "note"))
    text = of(drawn).text
    assert "Nearest neighbours" in text and "Attention inside" not in text


@pytest.mark.parametrize(
    ("spoil", "why"), [(lambda path: path.unlink(), "missing"), (lambda path: path.write_text("no"), "damaged")]
)
def test_without_their_numbers_figures_are_shown_all_the_same(drawn, spoil, why):
    spoil(drawn / "figures" / "shares.csv")
    parsed = of(drawn)
    assert f"cannot be shown: figures/shares.csv is {why}" in parsed.text and len(parsed.all("img")) == 2


def test_figures_of_weights_that_the_run_lacks_by_now_are_said_to_be(drawn):
    run = Run.open(drawn)
    record = run.read(SPEC)
    run.write(replace(record, metadata=replace(record.metadata, weights="x" * 64)), b"other")
    assert "weights that the run does not have any more" in str(of(drawn).all("p", **{"class": "banner"}))


def test_without_figures_a_sentence_says_how_to_make_them(run):
    parsed = of(run)
    assert "The weights are kept: python -m benchmark figures RUN draws it" in parsed.text and not parsed.all("img")
    made = Run.open(run)
    made.write(replace(made.read(SPEC), metadata=replace(made.read(SPEC).metadata, weights="")))
    assert "kept no weights. Make it anew in another --out with --keep-weights" in of(run).text


def test_a_page_is_made_again_when_a_figure_changes(drawn, monkeypatch):
    monkeypatch.setattr(page, "page", lambda run, made_from: f'<meta name="made-from" content="{made_from}">\n')
    assert write(drawn, KNOWN) and not write(drawn, KNOWN)
    for name in ("tsne.svg", "attention.png", "shares.csv"):
        (drawn / "figures" / name).write_bytes(b"changed")
        assert write(drawn, KNOWN) and not write(drawn, KNOWN)
    (drawn / "figures" / "mine.svg").write_bytes(b"changed")
    assert not write(drawn, KNOWN) and "figures/mine.svg" not in hashes(drawn)
    (drawn / "figures" / "tsne.svg").unlink()
    assert write(drawn, KNOWN)
    assert "figures/folder.py" in {path.relative_to(page.TEMPLATE.parents[1]).as_posix() for path in page.code_files()}
