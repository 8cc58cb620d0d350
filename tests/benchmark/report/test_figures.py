import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from benchmark.records import FitSpec, Metadata
from benchmark.report import svg
from benchmark.report.figures import confusion, losses, reliability
from benchmark.scores import Section
from fakes import A, B, record

SPEC = FitSpec("three", "ce", 0, 0)


def test_a_confusion_matrix_pools_fits_and_decides_as_the_section_does():
    proba = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.5, 0.2]]
    made = record(SPEC, [0, 0, 2, 1], proba)
    assert confusion([made, made], Section(A, "open")) == (
        [[2, 2, 0], [0, 2, 0], [0, 0, 2]],
        ["benign", "unsure", "malignant"],
    )
    # Among benign and malignant the second nodule is malignant; the unsure one is not tested.
    assert confusion([made], Section(B, "restricted")) == ([[1, 1], [0, 1]], ["benign", "malignant"])
    assert confusion([made], Section(B, "open")) == ([[1, 1, 0], [0, 0, 1]], ["benign", "unsure", "malignant"])


def test_a_confusion_matrix_reads_the_rows_own_decoder():
    made = record(SPEC, [1], [[0.4, 0.15, 0.45]], decoder="median")
    assert confusion([made], Section(A, "open"))[0] == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_reliability_is_the_share_right_by_tenths_of_confidence():
    proba = [[0.62, 0.2, 0.18], [0.68, 0.2, 0.12], [1.0, 0.0, 0.0]]
    bins = reliability([record(SPEC, [0, 1, 0], proba)])
    assert bins == [(pytest.approx(0.65), 0.5, 2), (1.0, 1.0, 1)]


def test_losses_are_means_over_fits_up_to_what_is_not_finite():
    histories = [
        [{"ce": 1.0, "ia": 2.0}, {"ce": 0.5, "ia": float("nan")}],
        [{"ce": 3.0, "ia": 4.0}, {"ce": 1.5, "ia": 1.0}],
    ]
    made = [replace(record(SPEC, [0], [[1.0, 0.0, 0.0]]), metadata=Metadata(history=history)) for history in histories]
    assert losses(made) == {"ce": [2.0, 1.0], "ia": [3.0]}
    assert losses([]) == {} == losses([record(SPEC, [0], [[1.0, 0.0, 0.0]])])


DRAWINGS = [
    svg.confusion([[3, 1], [0, 0]], ["<a>", "b"], ["<a>", "b"], 'of "x" & <y>'),
    svg.reliability([(0.5, 0.4, 10), (0.9, 1.0, 2)], "reliability"),
    svg.curves({"ce": [2.0, 1.0], "<ia>": [0.5]}, "losses"),
    svg.curves({"flat": [0.0]}, "one epoch of nothing"),
    svg.ranks([("<script>", 1.0), ("W" * 300, 2.0)], 2, "ranks"),
]


@pytest.mark.parametrize("drawn", DRAWINGS)
def test_a_drawing_is_whole_xml_in_the_pages_own_colour_inside_its_frame(drawn):
    root = ET.fromstring(str(drawn))
    assert root.get("role") == "img" and root.get("aria-label")
    colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', str(drawn)))
    assert colours == {"currentColor", "none"} or colours == {"currentColor"}
    width, height = float(root.get("width")), float(root.get("height"))
    numbers = re.findall(r'(?:points|x|y|cx|cy)="([^"]*)"', str(drawn))
    assert "nan" not in str(drawn)
    for element in root:
        for name, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            assert 0 <= float(element.get(name, 0)) <= most
    assert numbers and width <= 350 and not [tag for tag in root.iter() if tag.tag == "script"]


def test_a_confusion_matrix_prints_shares_and_counts():
    words = [element.text for element in ET.fromstring(str(DRAWINGS[0]))]
    assert "75 %" in words and "3" in words and "<a>" in words and words.count("-") == 2  # a class without a nodule
