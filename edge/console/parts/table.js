/** A table whose rows are updated in place: what stands still keeps its focus. Arrows go from row to row, Enter opens one. */

import { h, say, show } from "../dom.js";
import { arrange, unpressed } from "./arrange.js";

/**
 * `columns` are `{ name, title, cell(row) -> text or element, sort?(row) -> value, narrow?, end? }`: `narrow` ones are left out on a
 * phone, `end` ones stand at the right. `key(row)` names a row, `href(row)` is where it leads, `onopen(row)` what else opens it.
 * Returns `{ element, set(rows), rows }`.
 */
export function table({ label, columns, key, href = null, onopen = null }) {
  const head = h("tr");
  const body = h("tbody");
  const element = h("div.table-scroll", {}, h("table.table", { "aria-label": label }, h("thead", {}, head), body));
  const known = new Map();
  let sorting = null;
  let rows = [];

  for (const column of columns) {
    const classes = `${column.narrow ? ".narrow" : ""}${column.end ? ".end" : ""}`;
    const cell = h(`th${classes}`, { scope: "col" });
    if (column.sort) {
      const button = h("button.sort", { type: "button", onclick: () => sort(column) }, column.title);
      cell.append(button);
      column.header = cell;
    } else cell.append(column.title);
    head.append(cell);
  }

  const sort = (column) => {
    sorting = sorting?.column === column ? { column, way: -sorting.way } : { column, way: 1 };
    for (const { header } of columns) header?.removeAttribute("aria-sort");
    column.header.setAttribute("aria-sort", sorting.way > 0 ? "ascending" : "descending");
    draw();
  };

  const open = (line) => {
    const link = line.querySelector("a.row-link");
    if (link) link.click();
    else onopen?.(line.row);
  };

  const make = (row) => {
    const cells = columns.map((column) => h(`td${column.narrow ? ".narrow" : ""}${column.end ? ".end" : ""}`, { dataset: { column: column.name } }));
    const line = h("tr", { tabindex: -1, dataset: { key: key(row) } }, ...cells);
    line.cells_ = cells.map(() => null);
    return line;
  };

  const fill = (line, row) => {
    line.row = row;
    columns.forEach((column, at) => {
      const value = column.cell(row) ?? "";
      if (typeof value !== "object" && line.cells_[at] === value) return;
      line.cells_[at] = value;
      const cell = line.children[at];
      const content = at === 0 && href ? h("a.row-link", { href: href(row), tabindex: -1 }, value) : value;
      if (typeof content === "object") cell.replaceChildren(content);
      else say(cell, String(content));
    });
  };

  const draw = unpressed(() => {
    const shown = sorting ? [...rows].sort((a, b) => order(sorting.column.sort(a), sorting.column.sort(b)) * sorting.way) : rows;
    const lines = shown.map((row) => {
      const name = key(row);
      if (!known.has(name)) known.set(name, make(row));
      const line = known.get(name);
      fill(line, row);
      return line;
    });
    arrange(body, lines);
    const kept = new Set(lines);
    for (const [name, line] of known) if (!kept.has(line)) known.delete(name);
    if (!lines.some((line) => line.tabIndex === 0) && lines[0]) lines[0].tabIndex = 0;
    show(element, lines.length > 0);
  });

  body.addEventListener("focusin", ({ target }) => {
    const line = target.closest("tr");
    for (const other of body.children) other.tabIndex = other === line ? 0 : -1;
  });
  body.addEventListener("click", (click) => {
    const line = click.target.closest("tr");
    if (line && !click.target.closest("a, button, input, select, label") && !getSelection()?.toString()) open(line);
  });
  body.addEventListener("keydown", (press) => {
    if (!press.target.matches("tr")) return;
    const beside = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[press.key];
    if (beside) press.target[beside]?.focus();
    else if (press.key === "Enter") open(press.target);
    else return;
    press.preventDefault();
  });

  return {
    element,
    set(next) {
      rows = next;
      draw();
    },
    get rows() {
      return rows;
    },
  };
}

function order(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true });
}
