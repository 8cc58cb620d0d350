"""The page in headless Chromium, as it is: it asks for nothing, complains of nothing, and fits a phone and paper."""

from base64 import b64decode

import pytest

from browser import Tab

UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
# Whatever reaches beyond the page's right edge, unless it lies in a box that scrolls by itself.
BEYOND = """Array.from(document.querySelectorAll("main *, header *"))
  .filter((one) => one.checkVisibility() && !one.parentElement.closest(".scroll, pre"))
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map((one) => one.outerHTML.slice(0, 90))"""
A4 = 210 / 25.4 * 96  # CSS pixels


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_error_or_request_and_never_scrolls_sideways(browser, whole, width, scheme):
    tab = Tab(browser, whole / "report.html", width, scheme)
    for step in ("0", UNFOLD, "document.querySelector('#tables td a').click()"):
        tab.evaluate(step)
        assert tab.evaluate("document.documentElement.scrollWidth") <= tab.evaluate("innerWidth") == width
        assert tab.evaluate(BEYOND) == []
    assert tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")
    pictures = "Array.from(document.images, (one) => one.complete && one.naturalWidth > 99)"
    assert tab.evaluate(pictures) == [True, True]
    assert [tab.told(fault) for fault in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")] == [
        [],
        [],
        [],
    ]
    asked = {one["request"]["url"] for one in tab.told("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {(whole / "report.html").as_uri()}
    tab.close()


def test_the_policy_of_the_page_forbids_a_request_in_fact(browser, whole):
    tab = Tab(browser, whole / "report.html", 1280)
    tab.evaluate(
        "new Promise((done) => { const one = new Image(); one.onerror = done; one.src = 'http://127.0.0.1:9/'; })"
    )
    (entry,) = tab.told("Log.entryAdded")
    assert "Content Security Policy" in entry["entry"]["text"]
    tab.close()


def test_on_paper_everything_folded_is_open_and_no_table_is_cut(browser, whole):
    tab = Tab(browser, whole / "report.html", round(A4 - 0.8 * 96))  # Chromium's margins are 0.4 inches each
    tab.show("light", "print")
    assert tab.evaluate("matchMedia('print').matches")
    folded = "Array.from(document.querySelectorAll('#quality details table, #figures details svg'))"
    assert tab.evaluate(f"{folded}.length") > 10 and tab.evaluate(f"{folded}.every((one) => one.checkVisibility())")
    cut = "one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== 'visible'"
    assert tab.evaluate(f"Array.from(document.querySelectorAll('.scroll, pre')).filter((one) => {cut}).length") == 0
    beyond = "(one) => one.getBoundingClientRect().right > innerWidth + 0.5"
    tables = "Array.from(document.querySelectorAll('table')).filter((one) => one.checkVisibility())"
    assert tab.evaluate(f"{tables}.length") > 30 and tab.evaluate(f"{tables}.filter({beyond}).length") == 0
    paper = b64decode(tab.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert paper.startswith(b"%PDF") and paper.count(b"/Type /Page\n") > 3
    tab.close()
