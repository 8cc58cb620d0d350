from dataclasses import replace

import pytest

from benchmark.figures import folder
from benchmark.figures.folder import Line, csv_text, parse
from benchmark.files import footed, unfooted
from benchmark.records import FitSpec

LINE = Line("three", "clip", 0, 1, "ab12", 'A, "B"; C', 40, 2, "inside", 0.25, -0.0, 1.0)


def test_a_table_of_shares_is_read_back_as_it_was_written():
    lines = [LINE, Line("two", "coop", 3, 0, "", "CoOp", 7, 0, "alike", 1 / 3, 0.1, 0.9)]
    text = csv_text(lines, "A\nphantom.")
    assert text.splitlines()[:2] == [
        "# A phantom.",
        "label_set,method,fold,seed,weights,title,nodules,left_out,share,value,low,high",
    ]
    assert text.splitlines()[-2] == "two,coop,3,0,,CoOp,7,0,alike,0.333333,0.100000,0.900000" and "-0.0" not in text
    found, note = parse(text.encode())
    assert found[0] == LINE and found[1].value == pytest.approx(1 / 3, abs=1e-6) and note == "A phantom."
    assert found[0].spec == FitSpec("three", "clip", 0, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text.replace("# ", "", 1),
        lambda text: text.replace("weights", "hash"),
        lambda text: text.replace("0.250000", "much"),
        lambda text: text.replace("0.250000", ""),
        lambda text: text + "one,cell\n",
        lambda text: text + '"open\n',
    ],
)
def test_what_was_not_written_here_is_not_read(spoil):
    with pytest.raises(ValueError, match=r".+"):
        spoilt = spoil(unfooted(csv_text([LINE], "note").encode(), "# {}").decode())
        parse(footed(spoilt.encode(), "# {}"))
    with pytest.raises(ValueError, match=r".+"):
        parse(b"\xff\xfe")


@pytest.mark.parametrize(
    ("there", "now"),
    [("0.250000", "0.350000"), ("# note", "# nota"), ("\n# sha256", "\n# sha257")],
    ids=["a share", "the note", "the hash's name"],
)
def test_a_share_or_its_note_that_was_edited_is_not_believed(there, now):
    text = csv_text([LINE], "note")
    assert there in text
    with pytest.raises(ValueError, match="does not end with its own hash"):
        parse(text.replace(there, now).encode())


def test_a_title_in_a_table_of_shares_is_no_formula_and_one_line():
    (found,), note = parse(csv_text([replace(LINE, title="=1\r=2")], "a;=3").encode())
    assert found.title == "'=1 =2" and note == "a;'=3"


def test_every_picture_has_a_place_as_svg_and_as_png():
    pictures = {f"{name}.{kind}" for name in folder.PICTURES for kind in ("svg", "png")}
    assert set(folder.FILES) == pictures | {"shares.csv"}
