// Tells what a point is; sorts tables, filters the files; shows one net's mistakes at a time.

const tip = document.getElementById("tip");
const marks = ".chart [role=graphics-symbol][aria-label]:not([aria-roledescription=axis])";

function showTip(mark) {
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.getAttribute("aria-label");
  const place = mark.getBoundingClientRect();
  const left = Math.min(place.right + 8, innerWidth - tip.offsetWidth - 8);
  const top = place.top - tip.offsetHeight - 8;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${top > 8 ? top : place.bottom + 8}px`;
}
document.addEventListener("pointerover", (event) => showTip(event.target.closest?.(marks)));
// A scroll is told a frame late, when the pointer may have come to a point already.
document.addEventListener("scroll", () => showTip(document.querySelector(`:is(${marks}):hover`)));

function value(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1; // unknown comes last
  return one.localeCompare(other);
}

for (const head of document.querySelectorAll("th[aria-sort]")) {
  head.addEventListener("click", () => {
    const order = head.ariaSort === "ascending" ? "descending" : "ascending";
    for (const each of head.parentNode.cells) each.ariaSort = "none";
    head.ariaSort = order;
    const sign = order === "ascending" ? 1 : -1;
    const body = head.closest("table").tBodies[0];
    const sorted = [...body.rows].sort(
      (one, other) => sign * compare(value(one, head.cellIndex), value(other, head.cellIndex)),
    );
    body.append(...sorted);
  });
}

const filter = document.getElementById("filter");
function applyFilter() {
  const rows = [...document.querySelectorAll("#files tbody tr")];
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("count").textContent = `${shown} of ${rows.length} rows`;
}
filter?.addEventListener("input", applyFilter);
if (filter) applyFilter();

const judged = document.getElementById("judged");
function showJudgement() {
  for (const each of document.querySelectorAll(".judgement")) {
    each.hidden = each.dataset.number !== judged.value;
  }
}
judged?.addEventListener("change", showJudgement);
if (judged) showJudgement();
