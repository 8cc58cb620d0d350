"""The page in headless Chromium, by its command line alone; skipped where there is none."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

import datasets
import methods
from benchmark import references
from benchmark.files import sha256
from benchmark.report import Known, write
from datasets.protocols import LABEL_RULES
from runs import write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not here")

EARLY = """<script>
window.faults = [];
addEventListener("error", (event) => faults.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => faults.push(String(event.blockedURI)));
</script>"""
PROBE = """<script>
addEventListener("load", () => {
  const said = { faults, width: document.documentElement.scrollWidth, room: window.innerWidth };
  const sort = document.querySelectorAll("#tables button.sort")[1];
  sort.click();
  said.sorted = sort.closest("th").getAttribute("aria-sort");
  said.values = Array.from(sort.closest("table").tBodies[0].rows, (row) => row.cells[1].getAttribute("data-v"));
  const link = document.querySelector("#tables td a");
  link.focus();
  link.click();
  const dialog = document.getElementById("dialog");
  said.opened = dialog.open;
  said.evidence = dialog.textContent;
  dialog.close();
  setTimeout(() => {
    said.returned = document.activeElement === link && !document.getElementById("dialog-content").children.length;
    said.requests = performance.getEntriesByType("resource").length;
    parent.postMessage(JSON.stringify(said), "*");
  }, 200);
});
</script>"""
FRAME = """<!doctype html><meta charset="utf-8"><iframe src="probed.html" width="{}" height="800"></iframe>
<pre id="said"></pre><script>
addEventListener("message", (event) => {{ document.getElementById("said").textContent = event.data; }});
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "run"
    write_run(folder, {"ce": 0.55, "poisson": 0.5, "clip_lung": 0.8}, tested=30)
    write(folder, Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES))
    html = (folder / "report.html").read_text("utf-8")
    probed = html.replace("<head>", f"<head>{EARLY}").replace("</body>", f"{PROBE}</body>")
    (folder / "probed.html").write_text(probed, "utf-8")
    return folder


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_sorts_and_shows_its_evidence_without_error_request_or_overflow(folder, width, scheme):
    frame = folder / f"frame{width}.html"
    frame.write_text(FRAME.format(width), "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=5000"]
    options += ["--force-dark-mode"] * (scheme == "dark") + ["--window-size=1400,900", f"--user-data-dir={folder}/user"]
    command = [CHROMIUM, *options, "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    said = json.loads(unescape(re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.S)[1]))
    assert "CONSOLE" not in done.stderr and said["faults"] == [] and said["requests"] == 0
    assert said["width"] <= said["room"] <= width
    values = [float(value) for value in said["values"]]
    assert said["sorted"] == "descending" and values == sorted(values, reverse=True) and len(values) == 3
    assert said["opened"] and said["returned"]
    assert sha256((folder / "fits/three/clip_lung/fold0-seed0.json").read_bytes()) in said["evidence"]
