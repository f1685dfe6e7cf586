/** Lists jobs, agents and threads, with their progress and their newest line. */

import { h, icon, meter, say, show } from "../dom.js";
import { ago, duration, percent, short } from "../format.js";
import { TERMINAL } from "../store.js";
import { absence } from "./absence.js";
import { badge, panel, rebadge } from "./panel.js";

const WORDS = {
  running: ["Running", "info"],
  stopping: ["Stopping", "info"],
  completed: ["Completed", "ok"],
  failed: ["Failed", "bad"],
  cancelled: ["Cancelled", "quiet"],
};
const SHOWN_LINES = 40;

/** The address of a run's picture at this edge, whatever name its link has for it; null for any other link. */
export function pictureOf(link) {
  try {
    const { pathname, search } = new URL(link, location.href);
    return /^\/runs\/[^/]+\/picture$/.test(pathname) ? pathname + search : null;
  } catch {
    return null;
  }
}

/** One run's row; made once, then only updated. */
class Row {
  constructor(run, open, stop) {
    this.name = h("span.name");
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
    this.detail = h("div.detail", { hidden: true }, this.why, this.stop, this.picture, this.output);
    this.button = h("button.run", { type: "button", "aria-expanded": "false", onclick: () => open(this) },
      icon(run.domain), this.name, h("span.mark", {}, this.part, this.status), this.said, this.timing);
    this.element = h("li", { dataset: { run: run.run, domain: run.domain } }, this.button, this.bar.element, this.detail);
    this.expanded = false;
  }

  draw(run, now) {
    this.run = run;
    const over = TERMINAL.has(run.status);
    const [word, tone] = WORDS[run.status] ?? [String(run.status ?? "unknown"), "quiet"];
    say(this.name, run.name || run.run);
    this.name.title = `${run.domain}.${run.run}`;
    rebadge(this.status, word, tone);
    say(this.part, over ? "" : percent(run.progress));
    say(this.said, [run.stage, over && run.error ? run.error : run.message].filter(Boolean).join(" · "));
    say(this.timing, over ? this.#over(run, now) : this.#going(run, now));
    this.bar.set(over ? 1 : run.progress ?? null);
    this.element.dataset.status = word.toLowerCase();
    this.element.classList.toggle("over", over);
    if (this.expanded) this.#speak(run);
  }

  #going(run, now) {
    const rate = Number.isFinite(run.rate) && run.rate > 0 ? `${short(run.rate)}/s` : "";
    const left = Number.isFinite(run.eta_seconds) ? `${duration(run.eta_seconds)} left` : "";
    return [rate, left || (run.started ? duration((now - run.started) / 1000) : "")].filter(Boolean).join(" · ");
  }

  #over(run, now) {
    const took = run.updated - run.started;
    return [took >= 0 ? `took ${duration(took / 1000)}` : "", ago(run.updated, now)].filter(Boolean).join(" · ");
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
    const lines = run.lines.slice(-SHOWN_LINES).map((line) => line.text.replace(/\n$/, "")).join("\n");
    say(this.output, lines || (run.unread ? `What it said could not be read: ${run.unread}.` : run.recalled ? "This run has said nothing." : "Reading what it said…"));
    this.output.classList.toggle("silent", !lines);
    if (stuck) this.output.scrollTop = this.output.scrollHeight;
  }
}

export function runsView(root, store, client) {
  const { badges, body } = panel(root, "runs", "Runs");
  const count = badge("");
  badges.append(count);
  const list = h("ol.list");
  const empty = absence("job", {
    title: "Nothing is running",
    explanation: "Put any command behind this one: its output, its progress and its exit code appear here and on every subscriber.",
    command: `callboard run -- sh -c 'for i in 25 50 75 100; do echo "$i%"; sleep 1; done'`,
  });
  badges.append(empty.badge);
  body.append(list, ...empty.elements);
  const rows = new Map();

  const open = async (row) => {
    row.expand(!row.expanded);
    const { run } = row;
    if (!row.expanded || run.recalled) return;
    try {
      store.recall(run.key, await client.history([`${run.key}.>`], 100));
    } catch (fault) {
      store.recall(run.key, [], fault.message);
    }
  };

  const stop = async (row) => {
    row.asking = true;
    row.asked = null;
    row.draw(row.run, client.clock.now());
    try {
      const { run, domain } = row.run;
      await client.post(`/runs/${encodeURIComponent(run)}/stop`, { domain, reason: "asked on the page" });
    } catch (fault) {
      row.asked = `It could not be stopped: ${fault.message}.`;
    }
    row.asking = false;
    row.draw(row.run, client.clock.now());
  };

  const draw = () => {
    const now = client.clock.now();
    const runs = [...store.runs.values()].sort((a, b) =>
      TERMINAL.has(a.status) - TERMINAL.has(b.status)
      || (TERMINAL.has(a.status) ? b.updated - a.updated : (b.started || 0) - (a.started || 0))
      || (a.key < b.key ? -1 : 1));
    runs.forEach((run, at) => {
      let row = rows.get(run.key);
      if (!row) rows.set(run.key, row = new Row(run, open, stop));
      row.draw(run, now);
      // Moved only when its place changed: a moved element loses its focus.
      if (list.children[at] !== row.element) list.insertBefore(row.element, list.children[at] ?? null);
    });
    for (const [key, row] of rows) {
      if (store.runs.has(key)) continue;
      row.element.remove();
      rows.delete(key);
    }
    const running = runs.filter((run) => !TERMINAL.has(run.status)).length;
    rebadge(count, running ? `${running} running` : runs.length ? "all done" : "", running ? "info" : "quiet");
    show(count, runs.length > 0);
    empty.tell(store.situation("runs"), runs.length === 0);
    show(list, runs.length > 0);
  };
  store.watch("runs", draw);
  setInterval(() => store.runs.size && store.touch("runs"), 1_000);
}
