from decimal import Decimal
from pathlib import Path

import pytest

from benchmark.contracts import InputError
from benchmark.published import load

PAPER = Path(__file__).parents[2] / "results" / "published" / "clip_lung_2023.toml"

SMALL = """\
[paper]
title = "A study"
authors = "Doe"
venue = "Journal 2020"
nodules = 300
folds = 5

[protocols.B]
title = "Two of three"
classes = ["benign", "malignant"]
untested = ["unsure"]

[methods]
ce = "CE"
ours = "Ours"

[[tables]]
place = "Table 4"
decimals = 1
columns = [
    "B.accuracy", "B.accuracy_std",
    "B.recall_benign", "B.f1_benign", "B.recall_malignant", "B.f1_malignant",
]
[tables.rows]
ce = [83.3, 0.6, 92.4, 88.4, 63.4, 70.0]
ours = [81.8, 0.4,
        94.2, 87.7, 54.5, 65.1]
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


def test_keeps_numbers_as_printed(write):
    published = load(write(SMALL))
    assert published.name == "study" and len(published.cells) == 2 * 5
    cell = published.by_key["B", "ce", "f1_malignant"]
    assert str(cell.value) == "70.0" and cell.std is None and cell.decimals == 1 and cell.place == "Table 4"
    assert published.by_key["B", "ours", "accuracy"].std == Decimal("0.4")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("92.4", "192.4", "line 25, key tables[0].rows.ce: B.recall_benign is 192.4, not a percentage"),
        ("92.4", "-1.0", "line 25, key tables[0].rows.ce: B.recall_benign is -1.0, not a percentage"),
        ("92.4", "92", "line 25, key tables[0].rows.ce: B.recall_benign is 92, with 0 decimals where the table has 1"),
        ("94.2", "94.25", "line 26, key tables[0].rows.ours: B.recall_benign is 94.25, with 2 decimals"),
        ("92.4", "nan", "line 25, key tables[0].rows.ce: B.recall_benign is Decimal('NaN'), not a number"),
        ("92.4", '"92.4"', "line 25, key tables[0].rows.ce: B.recall_benign is '92.4', not a number"),
        ("92.4, ", "", "line 25, key tables[0].rows.ce: has 5 numbers for 6 columns"),
        ('"B.recall_malignant", ', "", "line 20, key tables[0].columns: B.recall_malignant is missing"),
        (
            "B.recall_malignant",
            "B.recall_unsure",
            "line 20, key tables[0].columns: B.recall_unsure: 'unsure' is no class",
        ),
        ("B.accuracy_std", "B.auc_std", "line 20, key tables[0].columns: B.auc_std has no column B.auc"),
        ("B.accuracy_std", "Z.accuracy", "line 20, key tables[0].columns: 'Z.accuracy' is not PROTOCOL.metric"),
        ("ours = [", "hers = [", "line 26, key tables[0].rows.hers: is no method"),
        ("ours = [", "ce = [", "line 26, key ce: this is not valid TOML"),
        ("0.6, 92.4", "0.6; 92.4", "line 25, key ce: this is not valid TOML"),
        ("nodules = 300", "nodules = 0", "line 5, key paper.nodules: must be at least 1"),
        ("nodules = 300", "nodules = true", "line 5, key paper.nodules: must be of type int"),
        ("nodules = 300", "", "line 1, key paper.nodules: is missing"),
        ("nodules", "nodles", "line 1, key paper.nodules: is missing"),
        ("[methods]", "[method]", "line 13, key method: is unknown"),
        ("untested", "missing", "line 11, key protocols.B.missing: is unknown"),
        ('["unsure"]', '["benign"]', "line 11, key protocols.B.untested: benign is also among the classes"),
        ('["benign", "malignant"]', '["benign"]', "line 10, key protocols.B.classes: must name at least two"),
        (
            '["benign", "malignant"]',
            '["benign", "benign"]',
            "line 10, key protocols.B.classes: must be an array of different",
        ),
        ("decimals = 1", "decimals = 9", "line 19, key tables[0].decimals: must be 0 to 3"),
        ("decimals = 1", "", "line 17, key tables[0].decimals: is missing"),
        ('ce = "CE"', "ce = 1", "line 14, key methods.ce: must be the method's printed name"),
        ("[[tables]]", "[tables]", "line 17, key tables: must be an array"),
    ],
)
def test_bad_input_is_one_sentence_with_file_line_and_key(write, old, new, complaint):
    assert old in SMALL
    path = write(SMALL.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, {complaint}") and "\n" not in message


def test_a_number_given_twice_is_refused(write):
    again = '\n[[tables]]\nplace = "Table 5"\ndecimals = 1\ncolumns = ["B.accuracy"]\n[tables.rows]\nce = [83.3]\n'
    with pytest.raises(
        InputError, match=r"line 34, key tables\[1\]\.rows\.ce: B\.accuracy of ce is already .* Table 4"
    ):
        load(write(SMALL + again))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'[paper]\ntitle = "\xe9"\n')
    with pytest.raises(InputError, match=r"latin\.toml: is not UTF-8"):
        load(tmp_path / "latin.toml")


def test_the_paper_file_holds_every_number_of_its_tables():
    published = load(PAPER)
    per_method = {method: sum(cell.method == method for cell in published.cells) for method in published.methods}
    assert all(
        per_method[m] == 7 + 5 + 5 for m in ("ce", "poisson", "nsb", "udm", "corf", "clip", "cocoop", "clip_lung")
    )
    assert all(count == 3 for method, count in per_method.items() if method.startswith("clip_lung_"))
    assert per_method["mv_dar"] == per_method["mv_dar_text"] == 1
    # Sums over the accuracy columns of Tables 1 and 2, added up from the paper.
    for protocol, total in {"A": "446.0", "B": "661.9", "C": "687.2"}.items():
        column = [published.by_key[protocol, method, "accuracy"].value for method in list(published.methods)[:8]]
        assert str(sum(column)) == total
