"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);

  // Sorting: each column's heading becomes a button.
  const valueOf = (row, column) => {
    const cell = row.children[column];
    if (!cell) return "";
    const given = cell.dataset.v;
    if (given !== undefined) return given === "" ? -Infinity : Number(given);
    const text = cell.textContent.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? (a < b ? -1 : a > b ? 1 : 0)
      : String(a).localeCompare(String(b), "en", { numeric: true });
  for (const table of all("table.sortable")) {
    const headings = all("thead th", table);
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") !== "descending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
        rows.sort((a, b) => (down ? compare(b[0], a[0]) : compare(a[0], b[0])));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  // Filtering: rows of the table of all tests, and the tests below; or what stands for itself.
  const tools = one("tools");
  if (tools) {
    const text = one("filter");
    const boxes = all("input[type=checkbox]", tools);
    const rows = all("tr[data-status], article[data-status]").map((row) => {
      const name = row.querySelector("th, h3");
      const link = name.querySelector("a");
      return [row, link && one(link.hash.slice(1)), name.textContent.toLowerCase()];
    });
    const apply = () => {
      const wanted = text.value.trim().toLowerCase();
      const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.dataset.status));
      const shown = new Set();
      for (const [row, test, name] of rows) {
        row.hidden = off.has(row.dataset.status) || !name.includes(wanted);
        if (!row.hidden) shown.add(test ?? row);
      }
      const tests = new Set(rows.map(([row, test]) => test ?? row)); // of several windows, once
      for (const test of tests) test.hidden = !shown.has(test);
      one("matching").textContent = shown.size === tests.size ? "" : `${shown.size} of ${tests.size} tests`;
    };
    text.addEventListener("input", apply);
    boxes.forEach((box) => box.addEventListener("change", apply));
    const unfold = one("unfold");
    unfold.addEventListener("click", () => {
      const open = unfold.getAttribute("aria-pressed") !== "true";
      unfold.setAttribute("aria-pressed", String(open));
      unfold.textContent = open ? "Fold all" : "Unfold all";
      for (const fold of all("main details.test, main details.window")) fold.open = open;
    });
    tools.hidden = false;
    apply();
  }

  // A link to what is folded unfolds it.
  const reveal = () => {
    const target = location.hash && one(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", reveal);
  reveal();

  // Printed with everything unfolded, and afterwards as it was.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    for (const fold of folded) fold.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const fold of folded) fold.open = false;
    folded = [];
  });

  // Zoom of timelines.
  for (const frame of all(".timeline-scroll")) {
    const drawing = frame.querySelector("svg");
    if (!drawing) continue;
    let factor = 1;
    const bar = document.createElement("div");
    bar.className = "tools zoom";
    const add = (label, change) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => {
        const middle = (frame.scrollLeft + frame.clientWidth / 2) / frame.scrollWidth;
        factor = Math.min(32, Math.max(1, change(factor)));
        drawing.style.width = factor === 1 ? "" : `${100 * factor}%`;
        drawing.style.maxWidth = factor === 1 ? "" : "none";
        frame.scrollLeft = middle * frame.scrollWidth - frame.clientWidth / 2;
      });
      bar.append(button);
    };
    add("Zoom in", (at) => at * 2);
    add("Zoom out", (at) => at / 2);
    frame.before(bar);
  }
})();
