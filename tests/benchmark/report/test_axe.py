"""Contrast and the other rules of WCAG 2, levels A and AA, as axe-core judges the page in a real browser.

axe-core is a package of npm; it is looked for in `node_modules` of the checkout, where `.ci/run` installs it:
`npm install --prefix . --no-save --no-package-lock --ignore-scripts axe-core@4.14.1`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from browser import Browser, Tab

AXE = Path(__file__).resolve().parents[3] / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = pytest.mark.skipif(not AXE.exists(), reason="needs axe-core in node_modules, which is not here")

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS: dict[str, Any] = {"runOnly": ["color-contrast"]}
RULES: dict[str, Any] = {
    "runOnly": LEVELS,
    "rules": {"color-contrast": {"enabled": False}},
    "resultTypes": ["violations", "incomplete"],  # of what passes, one element a rule: much faster
}
# axe leaves a colour undecided where a text lies beyond the edge of its box, as in a table that scrolls: room for all.
ROOM = "<style>.scroll, pre { overflow: visible !important } body { min-width: 300rem }</style>"
DIM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Dim</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<main><h1>Dim</h1><p style="color: #777777">4.48 to 1</p><p style="color: #767676">4.54 to 1</p></main></html>"""


@contextmanager
def judging(browser: Browser, file: Path, width: int = 1280, scheme: str = "light") -> Iterator[Tab]:
    """Open a page with axe beside it: the debugger puts it there, past the page's Content-Security-Policy."""
    tab = Tab(browser, file, width, scheme)
    tab.evaluate(f"{AXE.read_text('utf-8')}; 0")
    yield tab
    tab.close()


def judged(tab: Tab, within: str, **options: Any) -> dict[str, list[tuple[str, str]]]:
    """Return the rule and the element of all that axe rejects, and of all that it cannot decide or accepts."""
    told: dict[str, Any] = tab.evaluate(
        f"axe.run({within}, {json.dumps(options | {'selectors': False})}).then((told) => Object.fromEntries("
        "['violations', 'incomplete', 'passes'].map((verdict) => [verdict, told[verdict].flatMap((rule) => "
        "rule.nodes.map((node) => [rule.id, node.html.slice(0, 120)]))])))"
    )
    return {verdict: [(rule, element) for rule, element in found] for verdict, found in told.items()}


def test_axe_tells_a_contrast_just_below_level_aa_from_one_just_above(browser, tmp_path):
    (tmp_path / "dim.html").write_text(DIM)
    with judging(browser, tmp_path / "dim.html") as tab:
        found = judged(tab, "document", **COLOURS)
    assert [element for _, element in found["violations"]] == ['<p style="color: #777777">4.48 to 1</p>']


def assert_colours(tab: Tab, within: str, least: int) -> None:
    """Hold that axe accepts every colour, in light and in dark, and decides on all but letters in drawings.

    Those lie on shapes; `test_style.py` computes their contrast.
    """
    for scheme in ("light", "dark"):
        tab.show(scheme)
        found = judged(tab, within, **COLOURS)
        assert not found["violations"] and len(found["passes"]) > least
        assert not [element for _, element in found["incomplete"] if not element.startswith("<text ")]


@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_no_fault_in_any_chapter_with_everything_unfolded(browser, whole, width):
    with judging(browser, whole / "report.html", width) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        tab.evaluate("document.querySelector('#tables .sort').click()")
        found = judged(tab, "document", **RULES)
        assert not found["violations"] and not found["incomplete"]
        assert {"button-name", "scrollable-region-focusable", "target-size", "image-alt"} <= set(dict(found["passes"]))
        tab.evaluate(f"document.head.insertAdjacentHTML('beforeend', {ROOM!r})")
        assert_colours(tab, "document", 2000)


@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_no_fault_in_the_folds_that_a_cell_opens(browser, whole, width):
    with judging(browser, whole / "report.html", width) as tab:
        tab.evaluate("document.querySelector('#tables td a').click()")
        tab.evaluate("document.querySelector('main').remove()")  # judged above
        found = judged(tab, "'#dialog'", **RULES)
        assert not found["violations"] and not found["incomplete"] and len(found["passes"]) > 20
        tab.evaluate(f"document.head.insertAdjacentHTML('beforeend', {ROOM!r})")
        tab.evaluate("document.getElementById('dialog').style.cssText = 'width: 200rem; max-width: none'")
        assert_colours(tab, "'#dialog'", 40)
