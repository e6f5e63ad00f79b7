"use strict";
// Sorts and filters tables, shows the trial under the mouse. Without it the page has all its numbers.
(() => {
  const number = (text) => {
    const found = text.replace(/,(?=\d{3})/g, "").match(/^\s*[#<]?\s*(-?\d+(\.\d+)?(e[-+]?\d+)?)/i);
    return found ? parseFloat(found[1]) : null;
  };
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (x !== null && y !== null) return x - y || a.localeCompare(b);
    return a.localeCompare(b, undefined, { numeric: true });
  };

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (head.tagName !== "TH") return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const rising = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("right"));
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const text = (row) => row.cells[column].textContent.trim();
        const rows = [...table.tBodies[0].rows];
        const empty = (row) => text(row) === "";
        rows.sort((a, b) => empty(a) - empty(b) || (rising ? 1 : -1) * compare(text(a), text(b)));
        table.tBodies[0].append(...rows);
      });
    });
  };

  const filterable = (table) => {
    const line = document.createElement("div");
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("output");
    const rows = [...table.tBodies[0].rows];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    line.className = "filter";
    label.textContent = "Filter";
    input.type = "search";
    input.id = "filter-" + table.id;
    label.htmlFor = input.id;
    input.placeholder = "words that a row has";
    line.append(label, input, count);
    table.parentElement.before(line);
    const act = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row) => {
        row.hidden = !words.every((word) => texts.get(row).includes(word));
        shown += !row.hidden;
      });
      count.textContent = words.length ? `${shown} of ${rows.length}` : "";
    };
    input.addEventListener("input", act);
  };

  document.querySelectorAll("table.data").forEach((table) => {
    sortable(table);
    if (table.classList.contains("long")) filterable(table);
  });

  const trials = new Map([...document.querySelectorAll("tr[data-t]")].map((row) => [row.dataset.t, row]));
  const heads = [...document.querySelectorAll("#table-trials thead th")].map((head) => head.textContent.trim());
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const words = (row) => [...row.cells].map((cell, i) => [heads[i], cell.textContent.trim()]).filter((pair) => pair[1]);
  let chosen = [];
  const choose = (id) => {
    chosen.forEach((one) => one.classList.remove("chosen"));
    chosen = id === null ? [] : [...document.querySelectorAll(`[data-t="${id}"]`)];
    chosen.forEach((one) => one.classList.add("chosen"));
  };
  document.addEventListener("pointerover", (event) => {
    const shape = event.target.closest ? event.target.closest("svg [data-t]") : null;
    const row = shape && trials.get(shape.dataset.t);
    tip.hidden = !row;
    if (!row) return chosen.length ? choose(null) : undefined;
    choose(shape.dataset.t);
    tip.textContent = words(row).map(([head, text]) => `${head}: ${text}`).join("\n");
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8)) + "px";
  });
  document.addEventListener("click", (event) => {
    const shape = event.target.closest ? event.target.closest("svg [data-t]") : null;
    const row = shape && trials.get(shape.dataset.t);
    if (!row) return;
    const fold = row.closest("details");
    if (fold) fold.open = true;
    row.scrollIntoView({ block: "center" });
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open]):not(.screen-only)")];
    closed.forEach((fold) => (fold.open = true));
  });
  addEventListener("afterprint", () => closed.forEach((fold) => (fold.open = false)));
})();
