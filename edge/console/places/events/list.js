/** Shows rows of one height, as many as fit: their elements are made once and get other texts when the list moves. */

import { h } from "../../dom.js";
import { clock } from "../../format.js";

const BESIDE = 6;
const SUMMARY = 260;

/** One line of what an event's data hold, as one text: elements for each key would cost more than the rest of the row. */
function summaryOf(data) {
  let line = "";
  for (const key in data) {
    const value = data[key];
    if (value === null || value === "") continue;
    const text = typeof value === "number" ? String(Math.round(value * 1e4) / 1e4) : typeof value === "string" ? value : JSON.stringify(value);
    line += `${line && "  "}${key} ${text.length > 120 ? `${text.slice(0, 120)}…` : text}`;
    if (line.length > SUMMARY) break;
  }
  return line;
}

/** Elements are written only where they differ from what was written last: at 1,000 events a second each write counts. */
class Row {
  #shown = null;
  #texts = {};
  #place = -1;
  #chosen = null;
  #marked = false;
  #look = null;
  #domain = null;
  #stop = null;

  constructor() {
    const cells = ["time", "type", "subject", "summary"].map((name) => h(`span.${name}`, {}, (this.#texts[name] = new Text())));
    this.button = h("button.event", { type: "button" }, ...cells);
    this.element = h("li", { hidden: true }, this.button);
  }

  get hidden() {
    return this.#place < 0;
  }

  hide() {
    if (this.hidden) return;
    this.#place = -1;
    this.element.hidden = true;
  }

  draw(entry, y, chosen, marked) {
    const { element } = this;
    if (this.hidden) element.hidden = false;
    if (this.#place !== y) element.style.transform = `translateY(${(this.#place = y)}px)`;
    if (this.#chosen !== chosen) this.button.setAttribute("aria-pressed", String((this.#chosen = chosen)));
    if (this.#marked !== marked) element.classList.toggle("marked", (this.#marked = marked));
    if (this.#shown !== entry) this.#tell(entry);
  }

  #tell(entry) {
    const { element } = this;
    const { event } = entry;
    this.#shown = element.entry = entry;
    const look = event ? "" : `note ${entry.tone}`;
    if (this.#look !== look) {
      this.#look = look;
      element.className = `${look}${this.#marked ? " marked" : ""}`;
      this.button.disabled = !event;
    }
    const domain = event ? event.subject.slice(0, event.subject.indexOf(".")) : "";
    if (this.#domain !== domain) element.dataset.domain = this.#domain = domain;
    entry.line ??= event ? summaryOf(event.data) : entry.note;
    this.#write("time", clock(entry.at));
    this.#write("type", event?.event_type ?? "");
    this.#write("subject", event?.subject ?? "");
    this.#write("summary", entry.line);
  }

  #write(name, text) {
    const node = this.#texts[name];
    if (node.data !== text) node.data = text;
  }

  /** Whether the tab key stops here. */
  get stop() {
    return this.#stop;
  }

  set stop(stop) {
    if (this.#stop !== stop) this.button.tabIndex = (this.#stop = stop) ? 0 : -1;
  }
}

export class RowList {
  #rows = [];
  #followed = null;
  #room = 0;
  #tall = -1;
  current = null;

  /** `entries()` are what is shown; `choose(entry)` is called where one is opened; `moved()` when the reader has scrolled,
   * `resized()` when more or less room is there. */
  constructor({ entries, choose, moved, resized }) {
    this.entries = entries;
    this.list = h("ol.events", { "aria-label": "Events, oldest first" });
    this.element = h("div.scroll", { tabindex: -1 }, this.list);
    this.chosen = null;
    this.marked = null;
    this.height = 24;
    this.element.addEventListener("scroll", () => {
      // That the list follows its end is no move of the reader's, and is drawn already.
      const own = this.#followed === this.element.scrollTop;
      this.#followed = null;
      if (own) return;
      this.draw();
      moved();
    }, { passive: true });
    this.list.addEventListener("click", ({ target }) => {
      const line = target.closest("button.event");
      if (line) choose(line.parentElement.entry);
    });
    this.list.addEventListener("focusin", ({ target }) => target.matches("button.event") && (this.current = target.parentElement.entry));
    this.list.addEventListener("keydown", (press) => this.#key(press));
    new ResizeObserver(() => {
      this.#room = this.element.clientHeight;
      this.height = matchMedia("(max-width: 720px)").matches ? 58 : 24;
      this.draw();
      resized();
    }).observe(this.element);
  }

  get atFoot() {
    const { scrollTop, clientHeight, scrollHeight } = this.element;
    return scrollTop + clientHeight >= scrollHeight - this.height;
  }

  get top() {
    return Math.floor(this.element.scrollTop / this.height);
  }

  #size(height) {
    if (this.#tall !== height) this.list.style.height = `${(this.#tall = height)}px`;
  }

  /** Places rows where they are seen, from `y` (px) on. */
  draw(y = this.element.scrollTop) {
    const entries = this.entries();
    const { list, height } = this;
    this.#size(entries.length * height);
    const from = Math.max(0, Math.floor(y / height) - BESIDE);
    const to = Math.min(entries.length, Math.ceil((y + this.#room) / height) + BESIDE);
    while (this.#rows.length < to - from) {
      const row = new Row();
      this.#rows.push(row);
      list.append(row.element);
    }
    // A row keeps its place in the ring, so that scrolling by one changes one.
    const size = this.#rows.length;
    const top = Math.floor(y / height);
    let [stop, first] = [null, null];
    for (let index = from; index < from + size; index += 1) {
      const row = this.#rows[index % size];
      const entry = index < to ? entries[index] : null;
      if (!entry) {
        row.hide();
        continue;
      }
      row.draw(entry, index * height, entry === this.chosen, entry.event === this.marked && this.marked !== null);
      if (entry === this.current) stop = row;
      if (!first && entry.event && index >= top) first = row;
    }
    // One stop for the tab key; from there the arrows go from event to event.
    stop ??= first ?? this.#rows.find((row) => !row.hidden && row.element.entry.event);
    for (const row of this.#rows) row.stop = row === stop;
  }

  /** Goes to the end. Rows are placed before the list is moved, so that the browser lays it out once. */
  foot() {
    const y = Math.max(0, this.entries().length * this.height - this.#room);
    this.draw(y);
    this.element.scrollTop = y;
    this.#followed = this.element.scrollTop;
    // The list has another size than it was seen with: it is laid out again when that is known.
    if (this.#followed !== y) this.draw();
  }

  /** Keeps what is seen where it is, after `count` rows were added (or, negative, cut off) above it. */
  shift(count) {
    this.#size(this.entries().length * this.height);
    this.element.scrollTop += count * this.height;
    this.draw();
  }

  /** Scrolls to an index, a third from the top. */
  show(index, focus = false) {
    const { element, height } = this;
    const y = index * height;
    if (y < element.scrollTop || y + height > element.scrollTop + element.clientHeight) element.scrollTop = y - element.clientHeight / 3;
    this.draw();
    if (focus) this.focus(this.entries()[index]);
  }

  focus(entry) {
    this.current = entry;
    this.draw();
    this.#rows.find(({ element }) => !element.hidden && element.entry === entry)?.button.focus({ preventScroll: true });
  }

  #key(press) {
    const entries = this.entries();
    const at = entries.indexOf(this.current);
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page }[press.key];
    const to = press.key === "Home" ? 0 : press.key === "End" ? entries.length - 1 : by ? Math.min(entries.length - 1, Math.max(0, at + by)) : null;
    if (to === null || at < 0) return;
    press.preventDefault();
    this.show(to, true);
  }
}
