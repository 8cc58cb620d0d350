"""Colours by arithmetic, the script in Node: what can be held without a browser."""

import re
import shutil
import subprocess
from itertools import product

import pytest

from benchmark.report.page import TEMPLATE

STYLE = (TEMPLATE / "style.css").read_text()
NODE = shutil.which("node")


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(ground: str, ink: str, share: float) -> str:
    pairs = [(int(ground[i : i + 2], 16), int(ink[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round((1 - share) * a + share * b):02x}" for a, b in pairs)


def test_black_on_white_is_21_to_1():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_every_text_has_the_contrast_of_level_aa_in_light_dark_and_print():
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE)]
    assert len(schemes) == 3
    for colours in schemes:
        for ink, ground in product(("ink", "quiet", "link"), ("ground", "faint")):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground, colours)
        assert contrast(colours["warn-ink"], colours["warn"]) >= 4.5
        shaded = mixed(colours["ground"], colours["ink"], 0.3)  # a full cell of a confusion matrix
        assert contrast(colours["ink"], shaded) >= 4.5


def test_wide_tables_scroll_in_their_own_box_with_their_first_column_kept():
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", STYLE)
    assert re.search(r"th:first-child \{[^}]*position: sticky; left: 0", STYLE)
    assert "@media print" in STYLE and ":focus-visible" in STYLE


HARNESS = """
const handlers = {};
globalThis.document = { addEventListener: (name, f) => { handlers[name] = f; } };
globalThis.window = {};
const vm = require("vm");
vm.runInThisContext(require("fs").readFileSync(process.argv[1], "utf8"));
const cell = (text, value) => ({ textContent: text, getAttribute: () => (value === undefined ? null : value) });
const given = [["-"], ["9.5", "9.5"], ["10.1", "10.1"], ["failed"], ["-1.0", "-1"]];
const rows = given.map((one) => ({ cells: [cell(...one)] }));
const body = { rows, appendChild(row) { rows.splice(rows.indexOf(row), 1); rows.push(row); } };
const attributes = {};
const heading = {
  cellIndex: 0,
  getAttribute: (name) => attributes[name] ?? null,
  setAttribute: (name, value) => { attributes[name] = value; },
  removeAttribute: (name) => { delete attributes[name]; },
};
const table = { tBodies: [body], querySelectorAll: () => [heading] };
const button = { closest: (name) => ({ "button.sort": button, th: heading, table })[name] ?? null };
for (let click = 0; click < 2; click++) {
  handlers.click({ target: button });
  console.log(attributes["aria-sort"], rows.map((row) => row.cells[0].textContent).join(" "));
}
"""


@pytest.mark.skipif(NODE is None, reason="needs node, which is not here")
def test_a_click_on_a_heading_sorts_numbers_as_numbers_and_keeps_what_is_unknown_last():
    command = [NODE, "-e", HARNESS, str(TEMPLATE / "page.js")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert said == ["descending 10.1 9.5 -1.0 failed -", "ascending -1.0 9.5 10.1 failed -"]
