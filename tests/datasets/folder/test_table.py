"""What a table may say, and each thing that it may not, told in a sentence with its line."""

import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.contracts import InputError
from datasets import ATTRIBUTES
from datasets.folder import table

RATED = dict(zip((name.replace(" ", "_") for name in ATTRIBUTES), [5, 1, 6, 3, 4, 2, 1, 5.5], strict=True))


def refused(root):
    with pytest.raises(InputError) as told:
        table.read(root)
    assert "\n" not in str(told.value) and str(root / "nodules.csv") in str(told.value)
    return str(told.value)


def test_a_row_is_read_whole(folder):
    _, (row,) = table.read(
        folder(
            {
                **{"nodule_id": " x1 ", "patient_id": "P 1", "label": "", "malignancy": "4|5| 3.5", "scan_id": "1.2"},
                **{
                    "diameter_mm": "7.5",
                    "slice_thickness_mm": "1.25",
                    "spacing_mm": "2.5|0.7|0.6",
                    "centre": "9|8|7.5",
                },
                **{"centre": "9|8|7.5", "stratum_site": "Bern", "stratum_": "no name", "comment": "ignored"},
            }
        )
    )
    nodule = row.nodule
    assert (nodule.id, nodule.patient_id, nodule.scan_id) == ("x1", "P 1", "1.2")
    assert nodule.malignancy == (4, 5, 3.5) and nodule.label == "" and nodule.ratings == ()
    assert (nodule.diameter_mm, nodule.slice_thickness_mm) == (7.5, 1.25) and nodule.strata == {"site": "Bern"}
    assert row.spacing_mm == (2.5, 0.7, 0.6) and row.centre == (9, 8, 7.5)
    assert row.line == 2 and row.file.name == "a.npy"


def test_what_may_be_left_out_is_unknown(folder):
    attributes, (row,) = table.read(folder({}))
    assert attributes == () and row.nodule.label == "benign" and row.nodule.malignancy == ()
    assert np.isnan([row.nodule.diameter_mm, row.nodule.slice_thickness_mm]).all()
    assert row.spacing_mm is row.centre is None and row.nodule.scan_id == "" and row.nodule.strata == {}


@pytest.mark.parametrize("suffix", ["", "_mean"])
def test_the_eight_attributes_come_in_the_papers_order(folder, suffix):
    attributes, (row,) = table.read(folder({f"{name}{suffix}": RATED[name] for name in reversed(RATED)}))
    assert attributes == ATTRIBUTES and row.nodule.ratings == (5, 1, 6, 3, 4, 2, 1, 5.5)


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8-sig", ","), ("utf-8-sig", ";"), ("utf-8", ";")])
def test_what_spreadsheets_write_is_read(folder, encoding, delimiter):
    _, (row,) = table.read(folder({"patient_id": "Zürich 1"}, encoding=encoding, delimiter=delimiter))
    assert row.nodule.id == "n0" and row.nodule.patient_id == "Zürich 1"


def test_blank_lines_are_passed_over_and_lines_are_counted(folder):
    root = folder({}, {})
    text = (root / "nodules.csv").read_text().splitlines()
    (root / "nodules.csv").write_text("\n".join([text[0], "", text[1], ",,,", text[2]]))
    assert [row.line for row in table.read(root)[1]] == [3, 5]


def test_no_table(tmp_path):
    assert f"there is no {tmp_path / 'nodules.csv'}: a collection is a folder with a table" in refused(tmp_path)


@pytest.mark.parametrize("lines", ["", ",,,\n", "\n\n"])
def test_an_empty_table(tmp_path, lines):
    (tmp_path / "nodules.csv").write_text(f"nodule_id,patient_id,file,label\n{lines}")
    assert "holds no nodule: give it a row for each" in refused(tmp_path)


@pytest.mark.parametrize("text", ["", "\ufeff", "\n \n\r\n"], ids=["nothing", "mark", "blank"])
def test_an_empty_file(tmp_path, text):
    (tmp_path / "nodules.csv").write_text(text, encoding="utf-8")
    told = "nodules.csv is empty: write a line of column names, and below it a line for each nodule"
    assert refused(tmp_path).endswith(told)


def test_a_table_without_names_of_columns(tmp_path):
    (tmp_path / "nodules.csv").write_text(",,\n")
    told = "lacks the column nodule_id, patient_id, file, label or malignancy: its columns are none; add it"
    assert told in refused(tmp_path)


def test_one_file_of_two_patients_is_refused_and_of_one_patient_it_is_not(folder):
    rows = [{"patient_id": who, "file": "a.npy"} for who in "ppq"]
    assert len(table.read(folder(*rows[:2]))[1]) == 2
    told = "line 4: the file a.npy is of the patient 'p' in line 2: correct one of the two lines, or a patient who is"
    assert told in refused(folder(*rows))


@pytest.mark.parametrize(("before", "line"), [("", 1), ("\n \n", 3)])
def test_a_table_separated_by_tabs(folder, before, line):
    root = folder({"a, comma; or two": "1"}, delimiter="\t")
    path = root / "nodules.csv"
    path.write_text(before + path.read_text())
    told = f"nodules.csv, line {line}: its separator must be , or ;, and tabs were found: save it as CSV"
    assert refused(root).endswith(told)


def test_a_tab_in_the_name_of_a_column_is_no_separator(folder):
    assert len(table.read(folder({"a\tb": "1"}))[1]) == 1


def test_blank_lines_before_the_names_of_columns_hide_no_separator(folder):
    root = folder({}, delimiter=";")
    path = root / "nodules.csv"
    path.write_text("\n" + path.read_text())
    assert table.read(root)[1][0].line == 3


@pytest.mark.parametrize("column", ["nodule_id", "patient_id", "file"])
def test_a_missing_column(folder, column):
    root = folder({})
    path = root / "nodules.csv"
    path.write_text(path.read_text().replace(column, "other"))
    assert f"lacks the column {column}: its columns are" in refused(root)


def test_neither_label_nor_malignancy_as_a_column(folder):
    root = folder({})
    path = root / "nodules.csv"
    path.write_text(path.read_text().replace("label", "other"))
    assert "lacks the column label or malignancy: its columns are nodule_id, patient_id, file, other" in refused(root)


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"label": "Label"}, "column label or malignancy: its columns are {}; did you mean 'label' by 'Label'?"),
        ({"label": "Malignancy"}, "; did you mean 'malignancy' by 'Malignancy'?"),
        (
            {"patient_id": "Patient_ID"},
            "column patient_id: its columns are {}; did you mean 'patient_id' by 'Patient_ID'?",
        ),
        ({"file": "FILE", "nodule_id": "nodule id"}, "; did you mean 'nodule_id' by 'nodule id' and 'file' by 'FILE'?"),
        (
            {"label": "Label", "file": "other"},
            "column file, label or malignancy: its columns are {}; did you mean 'label'",
        ),
        ({"nodule_id": "other"}, "column nodule_id: its columns are {}; add it"),  # not patient_id, which is there
    ],
    ids=str,
)
def test_a_column_in_another_spelling_is_told(folder, changes, meant):
    root = folder({})
    names = [changes.get(name, name) for name in ("nodule_id", "patient_id", "file", "label")]
    text = (root / "nodules.csv").read_text().splitlines()
    (root / "nodules.csv").write_text("\n".join([",".join(names), *text[1:]]))
    assert meant.format(", ".join(names)) in refused(root)


def test_not_utf_8(folder):
    root = folder({"patient_id": "Zürich"}, encoding="latin-1")
    assert "is not UTF-8 (byte 37): save it as CSV in UTF-8" in refused(root)
    assert "is not UTF-8 (byte 0)" in refused(folder({}, encoding="utf-16"))


SENTENCES = [
    ({"nodule_id": "n0"}, "the nodule_id 'n0' stands in line 2 already: give each nodule its own"),
    ({"nodule_id": " "}, "nodule_id is empty: fill it in"),
    ({"patient_id": ""}, "patient_id is empty: fill it in"),
    ({"file": ""}, "file is empty: fill it in"),
    ({"label": "begnin"}, "the label 'begnin' is none of benign, unsure, malignant; did you mean 'benign'?"),
    ({"label": "Benign"}, "the label 'Benign' is none of benign, unsure, malignant; did you mean 'benign'?"),
    (
        {"label": "cancer"},
        "the label 'cancer' is none of benign, unsure, malignant: write one of the three, or leave it empty and give "
        "the readers' scores as malignancy",
    ),
    ({"label": "2"}, "the label '2' is none of benign, unsure, malignant: write one of the three"),
    *(
        ({name: word}, f"{name} is {word!r}, which stands for a missing value: fill it in, or leave the line out")
        for name in ("patient_id", "nodule_id")
        for word in ("NaN", "nan", "None", "NA", "null", "N/A", "<NA>", "#N/A")
    ),
    ({"patient_id": "p\0001"}, "patient_id is 'p\\x001', which holds a control character: write it without"),
    ({"nodule_id": "n\0"}, "nodule_id is 'n\\x00', which holds a control character: write it without"),
    ({"patient_id": "p1\t"}, "patient_id is 'p1\\t', which holds a control character"),
    ({"patient_id": "p\x7f1"}, "patient_id is 'p\\x7f1', which holds a control character"),
    ({"label": ""}, "it has neither label nor malignancy: fill one in, or leave the line out"),
    ({"malignancy": "3"}, "it has both label and malignancy: leave one of them empty"),
    ({"label": "", "malignancy": "6"}, "malignancy is '6': the readers' scores must lie from 1 to 5"),
    ({"label": "", "malignancy": "1|0.9"}, "malignancy is '1|0.9': the readers' scores must lie from 1 to 5"),
    ({"label": "", "malignancy": "1|nan"}, "malignancy is '1|nan': write numbers with a decimal point"),
    ({"label": "", "malignancy": "1|"}, "malignancy is '1|': write numbers with a decimal point"),
    ({"patient_id": "p0 "}, "the patient 'p0 ' is spelled 'p0' in line 2: spell the same patient the same way"),
    ({"patient_id": "p 0"}, "the patient 'p 0' is spelled 'p0' in line 2"),
    ({"patient_id": "P0"}, "the patient 'P0' is spelled 'p0' in line 2: spell the same patient the same way"),
    ({"patient_id": "p\u200b0"}, "the patient 'p\\u200b0' is spelled 'p0' in line 2"),
    *(
        (
            {"label": "", "malignancy": said},
            f"malignancy is {said!r}: join numbers by |, as 1|2, and write decimals with a point",
        )
        for said in ("1;2", "1,2", "1 2", "1/2", "[1, 2]", "1|2|", "(1;2)")
    ),
    ({"label": "", "malignancy": "1;x"}, "malignancy is '1;x': write numbers with a decimal point"),
    ({"spacing_mm": "1 1 2.5"}, "spacing_mm is '1 1 2.5': join numbers by |, as 1|1|2.5"),
    ({"centre": "7, 8, 9"}, "centre is '7, 8, 9': join numbers by |, as 7|8|9"),
    ({"diameter_mm": "7,5"}, "diameter_mm is '7,5': write numbers with a decimal point"),
    ({"diameter_mm": "nan"}, "diameter_mm is 'nan': write numbers with a decimal point"),
    ({"diameter_mm": "0"}, "diameter_mm is '0': write one number above 0 and up to 120"),
    ({"diameter_mm": "121"}, "diameter_mm is '121': write one number above 0 and up to 120"),
    ({"diameter_mm": "7|8"}, "diameter_mm is '7|8': write one number"),
    ({"slice_thickness_mm": "-1"}, "slice_thickness_mm is '-1': write one number above 0 and up to 20"),
    ({"spacing_mm": "1|1"}, "spacing_mm is '1|1': write three numbers as slice|row|column"),
    ({"spacing_mm": "1|1|0"}, "spacing_mm is '1|1|0': write millimetres from 0.05 to 20"),
    ({"centre": "1|1|1|1"}, "centre is '1|1|1|1': write three numbers as slice|row|column"),
    ({"file": "gone.npy"}, "there is no 'gone.npy' in the folder: correct the name"),
    ({"file": "in\\a.npy"}, "there is no 'in\\\\a.npy' in the folder, but there is 'in/a.npy': use / between folders"),
    ({"file": "in\\gone.npy"}, "there is no 'in\\\\gone.npy' in the folder: correct the name"),
    ({"file": "..\\outside.npy"}, "there is no '..\\\\outside.npy' in the folder: correct the name"),
    ({"file": ".\\"}, "there is no '.\\\\' in the folder: correct the name"),
    ({"file": "../a.npy"}, "'../a.npy' points outside the folder: put the file into it"),
    ({"file": "/etc/passwd"}, "'/etc/passwd' points outside the folder"),
    ({"file": "."}, "'.' points outside the folder"),
    ({"file": "link.npy"}, "'link.npy' points outside the folder"),
    ({"file": "nodules.csv"}, "'nodules.csv' is of no known kind: give an .npy, .nii or .nii.gz, or a folder of DICOM"),
    ({"file": "x" * 5000}, f"{'x' * 80!r} cannot be the name of a file: correct it"),
]


@pytest.mark.parametrize(("changes", "sentence"), SENTENCES, ids=[str(changes)[:60] for changes, _ in SENTENCES])
def test_a_wrong_cell_is_a_sentence_with_its_line(folder, tmp_path, changes, sentence):
    root = folder({}, changes)
    np.save(tmp_path / "outside.npy", np.zeros((32, 32, 32)))
    (root / "link.npy").symlink_to(tmp_path / "outside.npy")
    (root / "in").mkdir()
    np.save(root / "in" / "a.npy", np.zeros((32, 32, 32)))
    assert f"{root / 'nodules.csv'}, line 3: {sentence}" in refused(root)


def test_a_pipe_is_no_file(folder):
    root = folder({"file": "b.npy"})
    os.mkfifo(root / "b.npy")  # reading it would wait for ever
    assert "line 2: 'b.npy' is of no known kind" in refused(root)


def test_the_same_patient_in_one_spelling_is_one_patient(folder):
    _, rows = table.read(folder({"patient_id": "P 1"}, {"patient_id": "P 1"}))
    assert [row.nodule.patient_id for row in rows] == ["P 1", "P 1"]


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("P003", "p003", ("'P003'", "'p003'")),
        ("P003", "P 003 ", ("'P003'", "'P 003 '")),
        ("Straße 3", "STRASSE3", ("'Straße 3'", "'STRASSE3'")),
        ("Zürich", "ZÜRICH", ("'Zürich'", "'ZÜRICH'")),
        ("Zürich", unicodedata.normalize("NFD", "Zürich"), (r"'Z\xfcrich'", r"'Zu\u0308rich'")),  # those look alike
        ("P3", "\uff303", ("'P3'", r"'\uff303'")),
        ("P 3", "P\xa03", ("'P 3'", r"'P\xa03'")),
    ],
    ids=ascii,
)
def test_the_same_patient_in_two_spellings_is_refused_with_both(folder, one, other, shown):
    told = (
        f"line 4: the patient {shown[1]} is spelled {shown[0]} in line 2: spell the same patient the same way, or it "
    )
    assert told + "may be trained and tested on" in refused(folder({"patient_id": one}, {}, {"patient_id": other}))


def test_names_that_differ_otherwise_are_of_different_patients(folder):
    names = ["P003", "P03", "P0031", "Zürich", "Zurich", "P-003", "Nana", "Nonesuch"]
    assert [row.nodule.patient_id for row in table.read(folder(*({"patient_id": name} for name in names)))[1]] == names


def test_some_of_the_attributes(folder):
    root = folder({name: value for name, value in RATED.items() if name not in ("margin", "internal_structure")})
    told = refused(root)
    assert "but not internal_structure, margin: give all eight attributes or none" in told


@pytest.mark.parametrize("value", ["", "high", "nan", "inf", "3|4"])
def test_an_attribute_that_is_no_number(folder, value):
    assert f"line 3: texture is {value!r}" in refused(folder(RATED, {**RATED, "texture": value}))


def test_a_line_of_another_length(folder):
    root = folder({})
    with (root / "nodules.csv").open("a") as file:
        file.write("n9,p9,a.npy\n")
    assert "line 3: it has 3 cells for 4 columns" in refused(root)


def test_a_column_twice(folder):
    root = folder({"scan_id": "1"})
    path = root / "nodules.csv"
    path.write_text(path.read_text().replace("scan_id", "label"))
    assert "has two columns 'label'" in refused(root)


def test_an_open_quote(folder):
    root = folder({})
    with (root / "nodules.csv").open("a") as file:
        file.write('n9,p9,"a.npy\n')
    assert "line 3: " in refused(root) and "save it as plain CSV" in refused(root)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_sentence_or_rows(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("any")
    (root / "nodules.csv").write_bytes(content)
    with pytest.raises(InputError):
        table.read(root)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_any_cells_are_a_sentence_or_a_row(tmp_path_factory, text):
    root = tmp_path_factory.mktemp("any")
    (root / "nodules.csv").write_text(f"nodule_id,patient_id,file,malignancy\n{text}\n", encoding="utf-8", newline="")
    with pytest.raises(InputError):
        table.read(root)
