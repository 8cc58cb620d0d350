import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import datasets
import methods
from benchmark import references
from benchmark.commands.report import main
from benchmark.files import sha256, write_atomically
from benchmark.records import FitSpec
from benchmark.report import Known, page, write
from benchmark.report.gather import gather, hashes
from benchmark.run import Run
from benchmark.tables import grid
from datasets.protocols import LABEL_RULES
from fakes import record
from pages import Page
from runs import resealed, write_run

KNOWN = Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES)
ROWS = {"ce": 0.55, "poisson": 0.5, "clip_lung": 0.8, "clip_lung_ic": 0.52, "majority": 0.4}
EVIL = "<script>alert(1)</script>&\"'{{ 7*7 }}"


def write_cohort(folder: Path, nodules: int = 2000) -> None:
    lines = "".join(f"n{i},s{i},p{i // 2},1,3.0,8.0,1.25,0\n" for i in range(nodules))
    names = "nodule_id,scan_id,patient_id,n_readers,malignancy_mean,diameter_mm,slice_thickness_mm,fold"
    (folder / "cohort.csv").write_text(f"{names}\n{lines}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    write_run(folder, ROWS, seeds=2, tested=60)
    write_cohort(folder)
    return folder


@pytest.fixture(scope="module")
def html(finished) -> str:
    return page.page(gather(finished, KNOWN))


@pytest.fixture(scope="module")
def parsed(html) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "run"
    write_run(folder, {"ce": 0.55, "poisson": 0.5, "clip_lung": 0.8}, tested=30)
    write_cohort(folder)
    return folder


@pytest.fixture
def copied(small, tmp_path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "copy"))


def of(folder: Path, known: Known = KNOWN) -> Page:
    return Page(page.page(gather(folder, known)))


def rewrite(folder: Path, spec: FitSpec, **changes) -> None:
    run = Run.open(folder)
    old = run.read(spec)
    run.write(replace(old, **changes))


def spec(row: str, fold: int, seed: int = 0, label_set: str = "three") -> FitSpec:
    return FitSpec(label_set, row, fold, seed)


def test_every_id_is_unique_and_every_link_leads_somewhere_in_the_page(parsed):
    ids = [attributes["id"] for _, attributes, _ in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 20
    links = [attributes["href"] for attributes, _ in parsed.all("a")]
    assert len(links) > 50 and {link.removeprefix("#") for link in links} <= set(ids)
    named = ("aria-labelledby", "data-copies")
    pointers = [value for _, attributes, _ in parsed.elements for name, value in attributes.items() if name in named]
    assert pointers and set(pointers) <= set(ids)


def test_the_page_asks_nobody_for_anything(html, parsed):
    for tag, attributes, _ in parsed.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    code = "".join(text for tag in ("style", "script") for _, text in parsed.all(tag))
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|WebSocket|import\(|sendBeacon", code)
    assert not re.search(r"<(iframe|object|embed|base|img)\b", html)


def test_headings_go_down_one_level_at_a_time_and_chapters_are_named(parsed):
    levels = [int(tag[1]) for tag, _, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(parsed.by_id(attributes["aria-labelledby"])[0] == "h2" for attributes, _ in parsed.all("section"))
    assert parsed.all("html")[0][0]["lang"] == "en" and "width=device-width" in str(parsed.all("meta"))


def test_the_first_thing_that_takes_the_focus_skips_to_the_content(parsed):
    first = next(tag for tag in parsed.elements if tag[0] in ("a", "button", "summary"))
    assert first[1]["href"] == "#main" and parsed.by_id("main")[0] == "main"


def test_every_column_of_every_table_sorts_by_a_button_and_every_line_has_its_name(parsed):
    headers = parsed.all("th", scope="col")
    assert len(headers) == len(parsed.all("button", **{"class": "sort"})) > 100
    tables = len(parsed.all("table"))
    assert len(parsed.all("caption")) == tables == len(parsed.all("thead"))
    assert len(parsed.all("tr")) - tables == len(parsed.all("th", scope="row"))


def test_every_control_says_what_it_is_and_what_scrolls_takes_the_focus(parsed):
    for tag in ("button", "summary", "a"):
        assert all(text.strip() for _, text in parsed.all(tag))
    scrolling = parsed.all("div", **{"class": "scroll"}) + parsed.all("pre")
    assert all(found["tabindex"] == "0" and found["aria-label"] for found, _ in scrolling)
    assert all(found["role"] == "img" and found["aria-label"] for found, _ in parsed.all("svg"))


def test_cells_are_those_of_the_tables_and_open_their_fits_with_the_hash_of_each_record(finished, parsed):
    table = gather(finished, KNOWN).tables["table1"]
    behind = {}
    for line, texts in zip(table.lines, grid(table, table.blocks[0], ("", "")), strict=True):
        link = next(found["href"] for found, text in parsed.all("a") if text == texts[0])
        tag, behind[line.title] = parsed.by_id(link.removeprefix("#"))
        assert tag == "div"  # inside of a closed <details>, which the link opens
        assert behind[line.title].split("Fold")[0].strip() == f"{line.title}, LIDC-A (phantom)"
    evidence = behind["CE Loss"]
    for path in sorted((finished / "fits" / "three" / "ce").iterdir()):
        assert path.relative_to(finished).as_posix() in evidence and sha256(path.read_bytes()) in evidence
    assert len(list((finished / "fits" / "three" / "ce").iterdir())) == 10


def test_the_papers_number_and_the_audits_verdict_stand_beside_ours(parsed):
    line = next(text for _, text in parsed.all("tr") if text.startswith("CE Loss") and "paper 54.2 ± 0.6" in text)
    assert "paper 62.0" in line and line.endswith("fits test set 1")  # Table 1: F1 benign
    corf = [text for _, text in parsed.all("tr") if text.startswith("CLIP-Lung") and "paper 60.9 ± 0.4" in text]
    assert corf and "test set" in corf[0]
    table3 = next(text for _, text in parsed.all("tr") if text.startswith("IC + IA + CA"))
    captions = dict.fromkeys(text for _, text in parsed.all("caption"))
    assert any("decision among all classes" in caption for caption in captions)
    tables = [text for _, text in parsed.all("table") if "decision among all classes" in text]
    assert tables and not any(
        "paper 8" in text or "paper 9" in text for text in tables
    )  # the paper decides between two there
    assert "paper 60.9" in table3  # the row of all losses is CLIP-Lung's, under a key of its own in the paper


def test_no_published_number_stands_beside_another_collection(tmp_path):
    write_run(tmp_path / "run", {"ce": 0.5, "poisson": 0.5}, tested=60, collection="MyCT", source="my-ct")
    text = of(tmp_path / "run").text
    assert "paper 54.2" not in text and "fits test set" not in text and "Phantom: rendered" not in text


def test_phantom_a_random_tower_and_a_sample_are_said_on_top(finished, parsed, copied):
    banners = " ".join(text for _, text in parsed.all("p", **{"class": "banner"}))
    assert "Phantom: rendered" in banners and "Text tower: random" not in banners
    assert "Phantom: rendered" not in str(parsed.all("li")), "once is enough"
    content = (copied / "run.json").read_bytes()
    assert b'"sample": null' in content and b'"name": "openai"' in content
    sample = content.replace(b'"sample": null', b'"sample": 200')
    write_atomically(copied / "run.json", resealed(sample))
    assert "A sample of whole patients, spread evenly: 2,000 nodules" in str(of(copied).all("p", **{"class": "banner"}))


def test_the_same_records_give_the_same_bytes_wherever_they_lie(small, copied):
    made = page.page(gather(small, KNOWN))
    assert page.page(gather(copied, KNOWN)) == made and str(small) not in made


def test_a_page_is_made_again_only_if_something_changed(copied, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "page", lambda run, made_from: f'<meta name="made-from" content="{made_from}">\n')
    assert write(copied, KNOWN) and not write(copied, KNOWN)
    before = (copied / "report.html").read_bytes()
    rewrite(copied, spec("ce", 0), reason="changed")
    assert write(copied, KNOWN) and not write(copied, KNOWN)
    write_cohort(copied, 1999)
    assert write(copied, KNOWN) and (copied / "report.html").read_bytes() != before
    renamed = replace(KNOWN, rows=KNOWN.rows | {"ce": replace(KNOWN.rows["ce"], title="Other")})
    assert write(copied, renamed) and write(copied, KNOWN)
    code = tmp_path / "code.py"
    code.write_text("1")
    monkeypatch.setattr(page, "code_files", lambda: [code])
    assert write(copied, KNOWN) and not write(copied, KNOWN)
    code.write_text("2")
    assert write(copied, KNOWN)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda html: html.replace(b"CLIP-Lung", b"CLIP-Lunge", 1),
        lambda html: html[:-200],
        lambda html: html[:-1],
        lambda html: html + b"x",
        lambda html: html[:5000],
        lambda html: b"",
    ],
    ids=["edited", "cut", "cut by a sign", "appended to", "its head alone", "empty"],
)
def test_a_damaged_page_is_not_up_to_date(copied, spoil):
    assert write(copied, KNOWN) and not write(copied, KNOWN)
    whole = (copied / "report.html").read_bytes()
    (copied / "report.html").write_bytes(spoil(whole))
    assert write(copied, KNOWN) and (copied / "report.html").read_bytes() == whole


def test_the_code_of_the_page_is_all_that_decides_it():
    names = {path.relative_to(page.TEMPLATE.parents[1]).as_posix() for path in page.code_files()}
    template = {f"report/template/{name}" for name in ("page.html.j2", "style.css", "page.js")}
    assert template | {"report/verdict.py", "tables.py", "metrics.py", "contracts/folds.py"} <= names


def test_no_title_changes_the_page(small):
    titles = {"clip_lung": EVIL, "ce": "W" * 300, "poisson": "]]>--><!-- </script></pre>"}
    rows = {key: replace(KNOWN.rows[key], title=title) for key, title in titles.items()}
    made = of(small, replace(KNOWN, rows=KNOWN.rows | rows))
    assert made.order == of(small).order and all(title in made.text for title in titles.values())


def test_a_reason_and_a_command_are_text_too(copied):
    broken = record(spec("ce", 1), [], [], status="failed", reason=EVIL, identity=Run.open(copied).identity)
    Run.open(copied).write(broken)
    content = (copied / "run.json").read_bytes().replace(b"--preset quick", b"--preset <b>quick</b>")
    write_atomically(copied / "run.json", resealed(content))
    made = of(copied)
    assert EVIL in made.text and not made.all("b") and len(made.all("script")) == 1


def test_a_missing_fold_is_said_and_nothing_is_judged_over_it(copied):
    Run.open(copied).path(spec("clip_lung", 3)).unlink()
    made = of(copied)
    assert "CLIP-Lung on LIDC-A: fold 3 still to be made" in made.text
    assert "Not judged, since folds are missing there or in CE Loss: CLIP-Lung." in made.text
    assert "CLIP-Lung is better than CE Loss on LIDC-A" not in made.text
    assert "CLIP-Lung and CE Loss cannot be told apart on LIDC-A" not in made.text
    bold = [text for _, text in made.all("strong")]
    assert "(n=4)" in made.text and not any("(n=4)" in text for text in bold)
    assert "Mean ranks of 2 methods on LIDC-A" in str([found for found, _ in made.all("svg")])


def test_a_whole_run_lacks_nothing(parsed):
    missing = " ".join(parsed.by_id("missing")[1].split())
    assert missing.startswith(
        "What is missing Rows that a run makes unless told otherwise, and that this one does not have: NSB,"
    )
    assert missing.count(".") == 1  # and nothing else is


def test_fewer_seeds_on_a_fold_are_said(copied):
    run = Run.open(copied)
    for fold in (0, 1, 3, 4):
        run.write(replace(run.read(spec("poisson", fold)), spec=spec("poisson", fold, 1)))
    assert "Poisson on three classes: fewer seeds than elsewhere on fold 2" in of(copied).text


def test_failed_and_unsupported_fits_stand_with_their_reasons(copied):
    identity = Run.open(copied).identity
    for status, row in (("failed", "ce"), ("unsupported", "poisson")):
        broken = record(spec(row, 0), [], [], status=status, reason=f"why {row}", identity=identity)
        Run.open(copied).write(broken)
    text = of(copied).text
    assert "CE Loss on LIDC-A failed on fold 0: why ce" in text
    assert "Poisson on LIDC-A does not apply: why poisson" in text


def test_records_that_are_damaged_edited_or_of_another_version_are_named_with_the_reason(copied):
    run = Run.open(copied)
    damaged, edited, old = (run.path(spec("ce", fold)) for fold in (0, 1, 2))
    damaged.write_bytes(damaged.read_bytes()[:100])
    edited.write_bytes(edited.read_bytes().replace(b'"reason":""', b'"reason":"x"'))
    old.write_bytes(old.read_bytes().replace(b'"format":2', b'"format":1', 1))
    text = of(copied).text
    for path in (damaged, edited, old):
        assert path.relative_to(copied).as_posix() in text
    assert "does not match its own hash" in text and "format 1, not 2" in text
    assert "3 files could not be used" in text


def test_a_run_of_one_method_and_one_of_references_alone_have_a_page(tmp_path):
    write_run(tmp_path / "one", {"poisson": 0.5, "majority": 0.4}, tested=60)
    assert "Poisson is the only method of this run." in of(tmp_path / "one").text
    write_run(tmp_path / "none", {"majority": 0.4}, tested=60)
    assert "Only references were made" in of(tmp_path / "none").text


def test_a_class_that_a_test_fold_lacks_has_no_score_and_is_said(copied):
    run = Run.open(copied)
    for of_fold in [s for s in run.specs() if s.label_set == "three" and s.fold == 4]:
        old = run.read(of_fold)
        here = old.labels != 1
        ids = tuple(name for name, kept in zip(old.nodule_ids, here, strict=True) if kept)
        run.write(replace(old, labels=old.labels[here], proba=old.proba[here], nodule_ids=ids))
    made = of(copied)
    assert "LIDC-A: no unsure nodule is tested in fold 4, so scores of that class are left out" in made.text
    line = next(text for _, text in made.all("tr") if text.startswith("CE Loss") and "paper 54.2" in text)
    assert "-paper 29.0" in line  # the unsure recall, a mean over four folds, is not shown for five


def test_a_row_of_a_plugin_that_is_not_known_here_stands_under_its_key(copied):
    run = Run.open(copied)
    for fold in range(5):
        run.write(replace(run.read(spec("ce", fold)), spec=spec("mine", fold), kind="plugin"))
    made = of(copied)
    assert any(text.startswith("(plugin) mine") for _, text in made.all("tr"))
    assert "The row mine is not known here" in made.text


def test_records_of_two_codes_in_one_row_are_said(copied):
    rewrite(copied, spec("ce", 0), key="another")
    assert "CE Loss: 1 of 10 records were made by other code or settings than the rest" in of(copied).text


@pytest.mark.parametrize("damage", ["missing", "binary", "columns", "short", "line"])
def test_without_a_whole_cohort_csv_no_patients_are_counted(copied, damage):
    file = copied / "cohort.csv"
    match damage:
        case "missing":
            file.unlink()
        case "binary":
            file.write_bytes(b"\xff\xfe\x00")
        case "columns":
            file.write_text("nodule_id\nn1\n")
        case "line":
            file.write_text(file.read_text()[:-5])
        case "short":
            write_cohort(copied, 10)
    gathered = gather(copied, KNOWN)
    assert "cohort.csv" in gathered.faults
    assert any("2,000 nodules; label rule" in note for note in gathered.origin.notes())


def test_an_unfinished_run_and_one_without_records_have_a_page(tmp_path):
    run = write_run(tmp_path / "run", {"ce": 0.5}, tested=60)
    run.start("python run_all.py", run.metadata())
    assert "The run is not finished" in of(tmp_path / "run").text
    shutil.rmtree(tmp_path / "run" / "fits")
    assert "no record that can be used" in of(tmp_path / "run").text


def test_stray_files_among_the_fits_are_named_and_scored_nowhere(copied):
    run = Run.open(copied)
    for stray in (spec("ce", 0, label_set="four"), spec("ce", 9), spec("Not-A-Key", 0)):
        run.write(replace(run.read(spec("ce", 0)), spec=stray))
    two = record(spec("ce", 0), [0, 1], [[1.0, 0.0], [0.0, 1.0]], identity=run.identity)
    run.write(two)
    made = of(copied)
    assert "no probabilities over 3 classes" in made.text
    reasons = (
        "does not say how to score the classes 'four'",
        "the run has no fold 9",
        "'Not-A-Key' is no key of a row",
    )
    assert all(reason in made.text for reason in reasons)


def test_the_command_makes_the_page_and_says_where(copied, capsys):
    assert main([str(copied)]) == 0 and "Written to" in capsys.readouterr().out
    assert main([str(copied)]) == 0 and "is up to date" in capsys.readouterr().out
    other = copied.parent / "other.html"
    assert main([str(copied), "--out", str(other)]) == 0
    assert other.read_bytes() == (copied / "report.html").read_bytes()


def test_a_folder_that_is_no_run_is_bad_input(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2 and "holds no run.json" in capsys.readouterr().err
    (tmp_path / "run.json").write_text("{")
    assert main([str(tmp_path)]) == 2 and "is damaged" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_refused_before_any_work(copied, capsys, monkeypatch):
    monkeypatch.setattr("benchmark.commands.report.write", lambda *_: pytest.fail("it worked"))
    for place, sentence in (
        (copied, f"--out {copied} is a folder: give the name of a file, such as {copied / 'report.html'}"),
        (copied / "run.json" / "x.html", "give another folder with --out"),
    ):
        assert main([str(copied), "--out", str(place)]) == 2
        err = capsys.readouterr().err
        assert sentence in err and err.count("\n") == 1


def test_a_page_of_a_run_is_small(html):
    assert len(html.encode()) < 1_000_000


def test_a_page_is_out_of_date_where_the_run_that_ignores_patients_changed_even_if_that_is_damaged(small, tmp_path):
    run = Path(shutil.copytree(small, tmp_path / "run"))
    own = hashes(run)
    beside = Path(shutil.copytree(small, run / "ignoring-patients"))
    whole = hashes(run)
    assert own.items() < whole.items() and whole["ignoring-patients/run.json"] == own["run.json"]
    (beside / "run.json").write_text("{")
    assert hashes(run) == own | {"ignoring-patients/run.json": sha256(b"{")}
