// Draws the charts; sorts and filters the table; shows one net's mistakes at a time.

const specs = JSON.parse(document.getElementById("specs").textContent);
for (const [name, spec] of Object.entries(specs)) {
  const chart = document.querySelector(`#${name} .chart`);
  vegaEmbed(chart, spec, { actions: false, renderer: "svg" });
}

const table = document.querySelector("#files table");
const rows = [...table.tBodies[0].rows];

function value(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1; // unknown comes last
  return one.localeCompare(other);
}

[...table.tHead.rows[0].cells].forEach((head, column) => {
  head.addEventListener("click", () => {
    const order = head.ariaSort === "ascending" ? "descending" : "ascending";
    for (const each of table.tHead.rows[0].cells) each.ariaSort = "none";
    head.ariaSort = order;
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((one, other) => sign * compare(value(one, column), value(other, column)));
    table.tBodies[0].append(...rows);
  });
});

const filter = document.getElementById("filter");
function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("count").textContent = `${shown} of ${rows.length} rows`;
}
filter.addEventListener("input", applyFilter);
applyFilter();

const judged = document.getElementById("judged");
function showJudgement() {
  for (const each of document.querySelectorAll(".judgement")) {
    each.hidden = each.dataset.number !== judged.value;
  }
}
judged?.addEventListener("change", showJudgement);
if (judged) showJudgement();
