"""Figures: the same bytes each time, light, told apart by the colour-blind, and honest about what they rest on."""

import itertools
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from benchmark.figures import draw, page
from benchmark.figures.attention import Means
from benchmark.figures.features import Spread
from benchmark.intervals import Interval
from fakes import make_cohort

NOTE = "Phantom: not CT. Text tower: random weights."
NAMES = ("benign", "unsure", "malignant")
WILD = "<script>$\\frac{$</b> & " + "300 letters " * 25
MEANS = Means(*(Interval(v, v - 0.05, v + 0.05) for v in (0.4, 0.2, 0.35, 0.6, 0.2, 0.05)), nodules=12, left_out=3)


def words(svg: bytes) -> str:
    """Return all texts of an SVG, which must be well-formed."""
    return " ".join(" ".join(text.split()) for text in ET.fromstring(svg).itertext())


def clouds(
    title: str = "CLIP", scores: float = 2.5, kind: draw.Kind = "svg", classes: tuple[str, ...] = NAMES
) -> bytes:
    random = np.random.default_rng(0)
    one = Spread(random.standard_normal((9, 2)), Interval(0.41, 0.3, 0.5), 0.36)
    labels = np.arange(9) % len(classes)
    return draw.clouds({title: one}, labels, np.full(9, scores), classes, NOTE, kind)


def attention_maps(title: str = "CLIP", kind: draw.Kind = "svg", outlined: bool = True, share: float = 0.25) -> bytes:
    images = np.random.default_rng(0).random((2, 32, 32))
    outlines = np.zeros((2, 32, 32), dtype=bool)
    outlines[0, 8:24, 8:24] = True  # the second has none in this slice
    maps = np.stack([images[0], np.zeros((32, 32))])
    given = outlines if outlined else None
    return draw.attention_maps(
        images, given, {title: maps}, {title: np.array([share, np.nan])}, ["n1", "n2"], NOTE, kind
    )


def shares(title: str = "CLIP", kind: draw.Kind = "svg") -> bytes:
    return draw.shares({title: MEANS, "Other": None}, NOTE, kind)


FIGURES = [clouds, attention_maps, shares]


@pytest.mark.parametrize("kind", ["svg", "png"])
@pytest.mark.parametrize("figure", FIGURES)
def test_bytes_are_the_same_each_time_whatever_the_users_settings_are(figure, kind: draw.Kind) -> None:
    plain = figure(kind=kind)
    with matplotlib.rc_context({"savefig.facecolor": "black", "text.color": "red", "svg.hashsalt": "other"}):
        assert figure(kind=kind) == plain
    assert plain.startswith(b"<?xml" if kind == "svg" else b"\x89PNG")
    assert b"<dc:date>" not in plain and b"Matplotlib v" not in plain


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_says_what_it_rests_on_and_a_title_is_only_text(figure) -> None:
    svg = figure(title=WILD)
    said = words(svg)
    assert NOTE in said.replace("  ", " ") or all(word in said for word in NOTE.split())
    assert "<script>$\\frac{$</b>" in said and b"<script" not in svg and "..." in said
    assert said.count("300 letters") < 3


def test_every_class_is_named_and_has_its_own_shape() -> None:
    said = words(clouds())
    assert all(name in said for name in NAMES) and "mean malignancy score" in said
    assert "41% (30% to 50%)" in said and "by chance: 36%" in said
    two = words(clouds(classes=("benign", "malignant")))
    assert "malignant" in two and "unsure" not in two
    assert len({shape for _, shape in page.CLASSES}) == 3


def test_without_scores_the_row_of_scores_is_left_out() -> None:
    assert "mean malignancy score" not in words(clouds(scores=np.nan))


def test_the_share_stands_below_each_map_with_the_outlines_area_or_that_there_is_none() -> None:
    said = words(attention_maps())
    assert "25% inside (area 25%)" in said and "no share (area 0%)" in said
    assert "central slice" in said and "n1" in said and "n2" in said


def test_a_collection_without_outlines_is_told_so() -> None:
    said = words(attention_maps(outlined=False))
    assert "This collection has no outlines" in said and "inside" not in said.replace("inside the", "")
    assert "This collection has no outlines" in words(draw.shares({"CLIP": None}, NOTE))


def test_shares_name_their_levels_and_how_many_nodules_they_are_of() -> None:
    said = words(shares())
    assert "12 nodules (3 left out)" in said and "no share could be measured" in said
    assert said.count("chance: the outline's share of the slice") == 1  # once, not for each method


@pytest.fixture
def drawn(monkeypatch):
    """Return what a figure draws, before it is a file."""

    def put(draws, **given) -> list[Axes]:
        made = Figure()
        monkeypatch.setattr(draw, "page", lambda *said: said[-1](made) or b"")
        draws(**given)
        return made.axes

    return put


def test_the_dot_stands_at_the_share_and_its_line_at_the_interval(drawn) -> None:
    (axis,) = drawn(draw.shares, found={"CLIP": MEANS}, note=NOTE)
    at = {line.get_label(): line.get_xdata()[0] for line in axis.lines}
    assert at == {
        "chance: the outline's share of the slice": pytest.approx(20),
        "maps of other nodules": pytest.approx(35),
        "the most that such coarse maps can reach": pytest.approx(60),
        "inside the outline, with its 95 % interval": pytest.approx(40),
    }
    np.testing.assert_allclose(axis.collections[0].get_segments()[0][:, 0], [35, 45])
    assert len({line.get_marker() for line in axis.lines}) == 4


def test_points_bear_their_class_above_and_their_score_below(drawn) -> None:
    points, labels = np.arange(14.0).reshape(7, 2), np.array([0, 1, 2, 2, 1, 0, 0])
    scores = np.array([1, 2, 5, 4, np.nan, 2, 1])
    spreads = {"CLIP": Spread(points, Interval(0.4, 0.3, 0.5), 0.36)}
    above, below, _ = drawn(
        draw.clouds, spreads=spreads, labels=labels, malignancy=scores, class_names=NAMES, note=NOTE
    )
    for number, (cloud, (colour, _)) in enumerate(zip(above.collections, page.CLASSES, strict=True)):
        np.testing.assert_array_equal(cloud.get_offsets(), points[labels == number])
        assert to_rgb(cloud.get_facecolor()[0, :3]) == to_rgb(colour) and cloud.get_label() == NAMES[number]
    scored, unscored = below.collections
    np.testing.assert_array_equal(scored.get_offsets(), points[np.isfinite(scores)])
    np.testing.assert_array_equal(scored.get_array(), scores[np.isfinite(scores)])
    assert scored.get_clim() == (1, 5)
    np.testing.assert_array_equal(unscored.get_offsets(), points[[4]])


def test_each_nodule_has_its_own_slice_map_and_outline_in_its_row(drawn) -> None:
    random = np.random.default_rng(0)
    images, maps = random.random((2, 8, 8)), {"CLIP": random.random((2, 8, 8)), "CoCoOp": 9 * random.random((2, 8, 8))}
    outlines = np.zeros((2, 8, 8), dtype=bool)
    outlines[1, 2:4, 3:7] = True
    inside = {"CLIP": np.array([0.1, 0.2]), "CoCoOp": np.array([0.3, 0.4])}
    axes = drawn(
        draw.attention_maps,
        **{"images": images, "outlines": outlines, "maps": maps, "inside": inside},
        **{"words": ["first", "second"], "note": NOTE},
    )
    for number in range(2):
        said, plain, *explained = axes[4 * number : 4 * number + 4]
        assert said.texts[0].get_text() == ["first", "second"][number]
        for axis in (plain, *explained):
            np.testing.assert_array_equal(axis.images[0].get_array(), images[number])
            assert len(axis.collections) == 2 * number  # black below white, where there is an outline
        for axis, (title, heat) in zip(explained, maps.items(), strict=True):
            np.testing.assert_allclose(axis.images[1].get_array(), heat[number] / heat[number].max())
            assert axis.get_xlabel().startswith(f"{inside[title][number]:.0%} inside (area {(0, 12)[number]}%)")
    columns = axes[5].collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([columns.min(axis=0), columns.max(axis=0)], [[2.5, 1.5], [6.5, 3.5]])  # column, row


def test_what_is_known_of_a_nodule_stands_in_lines_and_what_is_not_is_left_out() -> None:
    cohort = make_cohort(2, n_readers=np.array([1, 0]))
    lines = draw.words_of(cohort, 0, "benign").splitlines()
    assert lines[0] == "n0" and lines[1] == f"benign, malignancy {cohort.malignancy[0]:.1f}"
    assert "1 reader" in lines and lines[-1] == f"attribute 7 {cohort.ratings[0, 7]:.1f}" and len(lines) == 12
    bare = make_cohort(
        2,
        malignancy=np.full(2, np.nan),
        diameter_mm=np.full(2, np.nan),
        n_readers=np.zeros(2, dtype=int),
        ratings=np.empty((2, 0)),
        trusted=np.empty((2, 0), dtype=bool),
        attribute_names=(),
    )
    assert draw.words_of(bare, 1, "unsure") == "n1\nunsure"


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def test_marks_are_seen_on_the_ground_and_classes_by_the_colour_blind() -> None:
    """WCAG 2.1, 1.4.11: 3 to 1; Machado et al. 2009: matrices of full protanopia, deuteranopia and tritanopia."""
    luminance = {
        c: linear(c) @ [0.2126, 0.7152, 0.0722] for c in (page.GROUND, page.INK, page.GREEN, *dict(page.CLASSES))
    }
    ground = luminance.pop(page.GROUND)
    assert ground == pytest.approx(1) and all((ground + 0.05) / (mark + 0.05) >= 3 for mark in luminance.values())
    blindness = (
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    )
    for matrix in blindness:
        seen = [np.clip(np.array(matrix) @ linear(colour), 0, 1) ** (1 / 2.2) for colour in dict(page.CLASSES)]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.2
