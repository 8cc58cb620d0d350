"use strict";
// Sorting, copying, the dialog of the evidence, and the way by keyboard; all else works without this file.

// A line's value in a column: the number that was computed, else the text.
function valueOf(row, column) {
  const cell = row.cells[column];
  const value = cell.getAttribute("data-v");
  return value === null ? cell.textContent.trim() : Number(value);
}

// Numbers in order, then texts in theirs; what is unknown ("-") stays last in both directions.
function compare(a, b, direction) {
  const known = Number(a === "-" || a === "") - Number(b === "-" || b === "");
  if (known) return known;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return direction * (typeof a === "number" ? a - b : a.localeCompare(b, "en"));
}

function sortBy(button) {
  const heading = button.closest("th");
  const table = button.closest("table");
  const column = heading.cellIndex;
  const direction = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
  for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), direction));
  for (const row of rows) body.appendChild(row);
}

// A page opened from disk may have no clipboard: then the text is selected, to be copied by hand.
function copy(button) {
  const source = document.getElementById(button.getAttribute("data-copies"));
  const status = button.parentElement.querySelector("[role=status]");
  const select = () => {
    source.closest("details").open = true;
    window.getSelection().selectAllChildren(source);
    status.textContent = "Selected: copy it with Ctrl+C or ⌘C";
  };
  if (!navigator.clipboard) return select();
  navigator.clipboard.writeText(source.textContent).then(() => { status.textContent = "Copied"; }, select);
}

// The evidence is moved into the dialog and back, so that it is in the page once.
function openEvidence(inside) {
  const dialog = document.getElementById("dialog");
  const content = document.getElementById("dialog-content");
  const details = inside.parentElement;
  document.getElementById("dialog-title").textContent = details.querySelector("summary").textContent;
  content.appendChild(inside);
  dialog.addEventListener("close", () => details.appendChild(inside), { once: true });
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const target = event.target;
  const sort = target.closest("button.sort");
  if (sort) return sortBy(sort);
  const button = target.closest("button.copy");
  if (button) return copy(button);
  const link = target.closest("td a[href^='#evidence-']");
  const inside = link && document.getElementById(link.getAttribute("href").slice(1));
  if (inside && window.HTMLDialogElement) {
    event.preventDefault();
    openEvidence(inside);
  }
});

// What Tab reaches comes out whole, also from under a table's first column. Not on a click: what moves away under the
// pointer is not clicked.
document.addEventListener("focusin", (event) => {
  if (event.target.matches(":focus-visible")) event.target.scrollIntoView({ block: "nearest", inline: "nearest" });
});
