"""The page by keyboard alone, in a real browser: every control is reached, seen, used and left again."""

from base64 import b64decode
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from benchmark.files import sha256
from browser import Browser, Tab

CELL = "#tables td a"
CONTROLS = """
window.controls = Array.from(document.querySelectorAll("a[href], button, summary, input, select, [tabindex='0']"))
  .filter((one) => one.checkVisibility());
controls.length"""
# The place among them of what has the focus, its outline, and whether it is on top at the start of its first line.
FOCUSED = """(() => {
  const focused = document.activeElement, style = getComputedStyle(focused), box = focused.getClientRects()[0];
  if (focused === document.body) return { place: -1 };
  const on = document.elementFromPoint(box.left + Math.min(4, box.width / 2), box.top + Math.min(6, box.height / 2));
  return {
    place: controls.indexOf(focused), what: focused.outerHTML.slice(0, 90), top: box.top + scrollY,
    bottom: box.bottom + scrollY, outline: [style.outlineStyle, parseFloat(style.outlineWidth)],
    seen: on !== null && (focused.contains(on) || on.contains(focused)) && box.right <= innerWidth,
  };
})()"""
KINDS = [".skip", "nav a", "summary", "#tables .scroll", "#tables .sort", CELL, ".copy", "pre"]


@pytest.fixture
def opened(browser: Browser, whole: Path) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def open_at(width: int, scheme: str = "light") -> Tab:
        tabs.append(Tab(browser, whole / "report.html", width, scheme))
        return tabs[-1]

    yield open_at
    for tab in tabs:
        tab.close()


def tab_to(tab: Tab, selector: str) -> None:
    """Press Tab until what has the focus is what a selector names."""
    for _ in range(400):
        if tab.evaluate(f"document.activeElement.matches({selector!r})"):
            return
        tab.press("Tab")
    raise AssertionError(f"Tab does not reach {selector}")


def walk(tab: Tab, *, shift: bool = False) -> list[dict[str, Any]]:
    """Return what gets the focus, one press after the other, until it leaves the page."""
    told: list[dict[str, Any]] = []
    for _ in range(tab.evaluate(CONTROLS) + 1):
        tab.press("Tab", shift=shift)
        one = tab.evaluate(FOCUSED)
        if one["place"] == -1 and "what" not in one:
            return told
        told.append(one)
    raise AssertionError(f"the focus does not leave the page: it goes on with {told[-1]}")


@pytest.mark.parametrize("width", [320, 1280])
def test_tab_reaches_the_skip_link_then_every_control_in_reading_order_and_leaves_the_page(opened, width):
    tab = opened(width)
    told = walk(tab)
    assert "Skip to the content" in told[0]["what"]
    assert [one["place"] for one in told] == list(range(tab.evaluate("controls.length"))) and len(told) > 300
    assert not [one for one in told if one["outline"] != ["solid", 3]]
    assert not [one for one in told if not one["seen"]]
    jumps = [(one, other) for one, other in pairwise(told[1:]) if other["bottom"] < one["top"]]
    assert not jumps  # up the page


def test_shift_tab_goes_the_same_way_back_and_hides_nothing_under_the_kept_column(opened):
    tab = opened(320)
    told = walk(tab, shift=True)
    assert [one["place"] for one in told] == list(range(tab.evaluate("controls.length")))[::-1]
    assert not [one for one in told if not one["seen"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_outline_of_each_kind_of_control_is_seen_on_all_four_sides(opened, scheme):
    tab = opened(1280, scheme)
    colour = tab.evaluate("getComputedStyle(document.querySelector('nav a')).color.match(/\\d+/g).map(Number)")
    for kind in KINDS:
        if kind == "pre":
            tab.evaluate("document.querySelector('.copies details').open = true")
        tab_to(tab, kind)
        tab.press("Tab", shift=True)
        tab.press("Tab")  # so that the whole page has settled around it
        left, top, width, height = tab.evaluate(
            "(({left, top, width, height}) => [left, top, width, height])(document.activeElement.getClientRects()[0])"
        )
        shot = tab.call("Page.captureScreenshot", format="png")["data"]
        seen = (255 * imread(BytesIO(b64decode(shot)))[:, :, :3]).round() == colour
        inked, (rows, columns) = (
            seen.all(axis=2),
            (slice(int(top), int(top + height)), slice(int(left), int(left + width))),
        )
        beside = {
            "left": inked[rows, max(0, int(left) - 6) : int(left) + 1].any(axis=1),
            "right": inked[rows, int(left + width) - 1 : int(left + width) + 7].any(axis=1),
            "above": inked[max(0, int(top) - 6) : int(top) + 1, columns].any(axis=0),
            "below": inked[int(top + height) - 1 : int(top + height) + 7, columns].any(axis=0),
        }
        assert all(side.mean() > 0.7 for side in beside.values()), (kind, {k: v.mean() for k, v in beside.items()})


def test_the_skip_link_leads_past_the_chapters_to_the_content(opened):
    tab = opened(1280)
    tab.press("Tab")
    tab.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.matches('main *')")


def test_enter_and_space_on_a_heading_sort_its_table_and_keep_the_focus(opened):
    tab = opened(1280)
    tab_to(tab, "#tables th:nth-child(2) .sort")
    values = "Array.from(document.querySelector('#tables tbody').rows, (row) => Number(row.cells[1].dataset.v))"
    for key, direction in (("Enter", "descending"), ("Space", "ascending")):
        tab.press(key)
        assert tab.evaluate("document.activeElement.closest('th').getAttribute('aria-sort')") == direction
        found = tab.evaluate(values)
        assert found == sorted(found, reverse=direction == "descending") and len(set(found)) == 4


def test_enter_on_a_cell_opens_its_folds_and_closing_them_gives_the_focus_back(opened, whole):
    tab = opened(320)
    tab_to(tab, CELL)
    cell = tab.evaluate("(window.cell = document.activeElement).getAttribute('href')")
    for key in ("Escape", "Enter", "Space"):
        tab.press("Enter")
        assert tab.evaluate("document.getElementById('dialog').matches(':modal')")
        told = tab.evaluate("document.getElementById('dialog').textContent")
        assert sha256((whole / "fits/three/ce/fold0-seed0.json").read_bytes()) in told
        assert tab.evaluate("document.activeElement.textContent") == "Close"
        if key == "Escape":
            for kind in ("scroll", "sort"):  # what the dialog holds can be reached
                tab.press("Tab")
                assert (
                    tab.evaluate("document.activeElement.closest('dialog') && document.activeElement.className") == kind
                )
        # The event comes a task after the dialog is shut, and the page's own listener, the elder one, is called first.
        tab.evaluate("void (window.shut = new Promise(done => dialog.addEventListener('close', done, {once: true})))")
        tab.press(key)
        assert not tab.evaluate("document.getElementById('dialog').open")
        assert tab.evaluate("shut.then(() => document.activeElement === cell)")
        assert tab.evaluate(f"document.querySelector({cell!r}).closest('details').matches('#evidence details')")
    tab.press("Tab")
    assert tab.evaluate("document.activeElement !== cell && document.activeElement.matches('#tables td a')")


def test_enter_and_space_open_and_close_what_is_folded(opened):
    tab = opened(1280)
    tab_to(tab, "#tables summary")
    for key, is_open in (("Enter", True), ("Space", False), ("Space", True), ("Enter", False)):
        tab.press(key)
        assert tab.evaluate("document.activeElement.parentElement.open") is is_open


def test_a_copy_button_copies_by_key_and_selects_where_it_may_not(opened, browser):
    tab = opened(1280)
    said = "document.activeElement.parentElement.querySelector('[role=status]').textContent"
    table = tab.evaluate("document.getElementById('table1-Markdown').textContent")
    tab_to(tab, ".copy")
    tab.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))")
    for key in ("Enter", "Space"):
        tab.evaluate("getSelection().empty()")
        tab.press(key)
        assert "Ctrl+C" in tab.evaluate(said) and tab.evaluate("String(getSelection())").strip() == table.strip()
        assert tab.evaluate("document.activeElement.matches('.copy')")
    tab.evaluate("delete navigator.clipboard.writeText")
    browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    tab.press("Enter")
    assert tab.evaluate("navigator.clipboard.readText()") == table and tab.evaluate(said) == "Copied"


def test_what_scrolls_is_scrolled_by_arrow_keys(opened):
    tab = opened(320)
    tab_to(tab, "#tables .scroll")
    for _ in range(10):
        tab.press("ArrowRight")
    moved = "new Promise((done) => setTimeout(() => done(document.activeElement.scrollLeft), 300))"
    assert tab.evaluate(moved) > 50 and tab.evaluate("scrollX") == 0
