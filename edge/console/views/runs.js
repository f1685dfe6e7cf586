/** Draws a run as a row: its progress and its newest line, and, opened, its output and the button that stops it. */

import { h, icon, meter, say, show } from "../dom.js";
import { ago, duration, percent, short, took as tookFor } from "../format.js";
import { plainText } from "../places/runs/ansi.js";
import { TERMINAL } from "../store.js";
import { badge, rebadge } from "./panel.js";

const WORDS = {
  running: ["Running", "info"],
  stopping: ["Stopping", "info"],
  completed: ["Completed", "ok"],
  failed: ["Failed", "bad"],
  cancelled: ["Cancelled", "quiet"],
};
const SHOWN_LINES = 40;
// Steps a second; less would be shown as 0.0.
export const LEAST_RATE = 0.05;

/** What a status is called, and its tone. */
export const wordOf = (status) => WORDS[status] ?? [String(status ?? "unknown"), "quiet"];

/** The seconds that are left of a run, by what it said last; null where it says nothing, or that time has passed. */
export function etaOf({ eta_seconds: eta, updated }, now) {
  const left = Number.isFinite(eta) ? eta - Math.max(0, now - updated) / 1000 : 0;
  return left > 0 ? left : null;
}

/** A run's stage and what is said of it, without a line such as "40 %" that says its part again. */
export const doingOf = ({ stage }, said) => plainText([stage, /^\s*[\d.]+\s*%\s*$/.test(said ?? "") ? "" : said].filter(Boolean).join(" · "));

/** The address of a run's picture at this edge, whatever name its link has for it; null for any other link. */
export function pictureOf(link) {
  try {
    const { pathname, search } = new URL(link, location.href);
    return /^\/runs\/[^/]+\/picture$/.test(pathname) ? pathname + search : null;
  } catch {
    return null;
  }
}

/** One run's row; made once, then only updated. `href` is the address of its page. */
export class RunRow {
  constructor(run, { open, stop, href }) {
    this.title = h("span");
    // Several runs of one name are told apart by it.
    this.id = h("code.id", { hidden: true }, run.run);
    this.name = h("span.name", {}, this.title, this.id);
    this.status = badge("");
    this.part = h("span.part");
    this.said = h("span.said");
    this.timing = h("span.timing");
    this.bar = meter(`Progress of ${run.name ?? run.run}`);
    this.output = h("pre.output", { tabindex: 0, "aria-label": "Last output" });
    this.why = h("p.why");
    this.stop = h("button.quiet.stop", { type: "button", onclick: () => stop(this) }, icon("cross"), h("span", {}, "Stop"));
    this.asked = null; // what became of a request to stop, where it was refused
    this.picture = h("a.picture", { target: "_blank", rel: "noopener", hidden: true });
    this.link = h("a.quiet.whole-run", { href }, icon("runs"), h("span", {}, "Open the run"));
    this.detail = h("div.detail", { hidden: true }, this.why, h("div.row-of-buttons", {}, this.link, this.stop), this.picture, this.output);
    this.button = h("button.run", { type: "button", "aria-expanded": "false", onclick: () => open(this) },
      icon(run.domain), this.name, h("span.mark", {}, this.part, this.status), this.said, this.timing);
    this.leave = h("a.tool.go", { href, title: `Open ${run.name ?? run.run}`, "aria-label": `Open the run ${run.name ?? run.run}` }, icon("chevron"));
    this.element = h("li", { dataset: { run: run.run, domain: run.domain } }, h("div.run-line", {}, this.button, this.leave), this.bar.element, this.detail);
    this.expanded = false;
  }

  draw(run, now) {
    this.run = run;
    const over = TERMINAL.has(run.status);
    const [word, tone] = wordOf(run.status);
    say(this.title, run.name || run.run);
    show(this.id, Boolean(run.name) && run.name !== run.run);
    this.name.title = `${run.domain}.${run.run}`;
    rebadge(this.status, word, tone);
    say(this.part, over ? "" : percent(run.progress));
    say(this.said, doingOf(run, over && run.error ? run.error : run.message));
    say(this.timing, over ? this.#over(run, now) : this.#going(run, now));
    this.bar.set(over ? 1 : run.progress ?? null);
    this.element.dataset.status = word.toLowerCase();
    this.element.classList.toggle("over", over);
    if (this.expanded) this.#speak(run);
  }

  #going(run, now) {
    const rate = run.rate >= LEAST_RATE ? `${short(run.rate)}/s` : "";
    const eta = etaOf(run, now);
    const left = eta ? `${duration(eta)} left` : "";
    return [rate, left || (run.started ? duration((now - run.started) / 1000) : "")].filter(Boolean).join(" · ");
  }

  #over(run, now) {
    const took = run.updated - run.started;
    return [took >= 0 ? `took ${tookFor(took / 1000)}` : "", ago(run.updated, now)].filter(Boolean).join(" · ");
  }

  #picture(address) {
    show(this.picture, Boolean(address));
    if (!address || this.picture.getAttribute("href") === address) return;
    this.picture.href = address;
    this.picture.replaceChildren(h("img", { alt: "The last picture of this render", loading: "lazy", src: address }));
  }

  expand(visible) {
    this.expanded = visible;
    show(this.detail, visible);
    this.button.setAttribute("aria-expanded", String(visible));
    if (visible) this.#speak(this.run);
  }

  #speak(run) {
    const wrong = this.asked ?? run.error;
    show(this.why, Boolean(wrong));
    say(this.why, wrong ? String(wrong) : "");
    this.#picture(pictureOf(run.picture));
    show(this.stop, !TERMINAL.has(run.status));
    this.stop.disabled = this.asking || run.status === "stopping";
    const stuck = this.output.scrollTop + this.output.clientHeight >= this.output.scrollHeight - 4;
    const lines = run.lines.slice(-SHOWN_LINES).map((line) => plainText(line.text.replace(/\n$/, ""))).join("\n");
    say(this.output, lines || (run.unread ? `What it said could not be read: ${run.unread}.` : run.recalled ? "This run has said nothing." : "Reading what it said…"));
    this.output.classList.toggle("silent", !lines);
    if (stuck) this.output.scrollTop = this.output.scrollHeight;
  }
}
