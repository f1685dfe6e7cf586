/** Shows what a run consists of as a tree: steps, uses of tools with input and output, child runs. Rows are updated in place. */

import { h, icon, meter, say, show } from "../../dom.js";
import { duration, moment, percent, short, took } from "../../format.js";
import { jsonView } from "../../parts/json.js";
import { badge, rebadge } from "../../views/panel.js";
import { unescapeToken } from "../../../client/tokens.js";
import { wordOf } from "../../views/runs.js";

const ICONS = { tool: "sliders", model: "agent", run: "runs" };
// A step's icon says how it stands.
const STANDING = { completed: "check", failed: "cross", cancelled: "stop", stopped: "stop" };
// Levels that are drawn inside one another; deeper ones stand beside them.
const DEEPEST = 8;

export const cost = (value) => (Number.isFinite(value) ? `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: value < 0.1 ? 4 : 2 })}` : "");

/** How long a stage took, or how long it goes on already. */
function timing(stage, now) {
  if (Number.isFinite(stage.duration)) return took(stage.duration);
  if (stage.status !== "running") return "";
  const left = Number.isFinite(stage.eta_seconds) ? `${duration(stage.eta_seconds)} left` : "";
  return left || duration(Math.max(0, (now - moment(stage.started)) / 1000));
}

class StageRow {
  #tool = null;
  #open = false;

  constructor(stage, addressOf) {
    this.id = stage.id;
    this.name = h("span.name");
    this.status = badge("");
    this.spent = h("span.spent");
    this.took = h("span.took");
    this.bar = meter(`Progress of ${stage.name}`);
    this.icon = icon(ICONS[stage.kind] ?? "clock");
    this.error = h("p.why");
    this.io = h("div.io", { hidden: true });
    const link = stage.kind === "run" && /^[a-z]+\../.test(stage.id);
    this.name = link ? h("a.name", { href: addressOf("runs", [stage.id.split(".")[0], unescapeToken(stage.id.slice(stage.id.indexOf(".") + 1))]) }) : this.name;
    this.more = h("button.tool.unfold", { type: "button", "aria-expanded": "false", hidden: true, onclick: () => this.#unfold(!this.#open) }, icon("chevron"));
    this.children = h("ul.stages", { hidden: true });
    this.element = h("li.run-stage", { dataset: { stage: stage.id, kind: stage.kind } },
      h("div.line", {}, this.more, this.icon, this.name, this.status, this.spent, this.took), this.bar.element, this.error, this.io, this.children);
  }

  draw(stage, tool, now) {
    const going = stage.status === "running";
    this.element.dataset.status = stage.status;
    say(this.name, stage.name);
    if (!ICONS[stage.kind] && this.drawn !== stage.status) {
      const now = icon(STANDING[stage.status] ?? "clock");
      this.icon.replaceWith(now);
      [this.icon, this.drawn] = [now, stage.status];
    }
    const [word, tone] = wordOf(stage.status);
    rebadge(this.status, going && Number.isFinite(stage.progress) ? percent(stage.progress) : word, tone);
    const { current, total } = stage.steps ?? {};
    say(this.spent, [Number.isFinite(current) && `${short(current)}${Number.isFinite(total) ? ` of ${short(total)}` : ""}`, Number.isFinite(stage.tokens_used) && `${short(stage.tokens_used)} tokens`, cost(stage.cost)].filter(Boolean).join(" · "));
    say(this.took, timing(stage, now));
    show(this.bar.element, going && Number.isFinite(stage.progress));
    this.bar.set(stage.progress);
    const error = stage.error ?? tool?.error;
    show(this.error, Boolean(error));
    say(this.error, error ? String(error) : "");
    show(this.more, Boolean(tool));
    if (!tool) return;
    this.more.setAttribute("aria-label", `Input and output of ${stage.name}`);
    if (JSON.stringify(tool) === this.#tool) return;
    this.#tool = JSON.stringify(tool);
    this.tool = tool;
    if (this.#open) this.#fill();
  }

  #unfold(wish) {
    this.#open = wish;
    this.more.setAttribute("aria-expanded", String(wish));
    show(this.io, wish);
    if (wish) this.#fill();
  }

  #fill() {
    const { input, output } = this.tool;
    this.io.replaceChildren(
      h("h4", {}, "Input"), input === null || input === undefined ? h("p.faint", {}, "It was given nothing.") : jsonView(input, { label: "Input" }),
      h("h4", {}, "Output"), output === undefined ? h("p.faint", {}, "It has not answered yet.") : typeof output === "string" ? h("pre.json", { tabindex: 0, "aria-label": "Output" }, output) : jsonView(output, { label: "Output" }));
  }
}

/** Returns `{ element, set(stages, { leftOut, tools, now }) }`. */
export function stageTree({ addressOf }) {
  const root = h("ul.stages", { "aria-label": "Steps" });
  const rest = h("p.faint", { hidden: true });
  const element = h("div.tree", {}, rest, root);
  const rows = new Map();

  /** The stage that another one stands in; null at the top, in a circle, or too deep. */
  const above = (stage, all) => {
    const over = all.get(stage.parent);
    let at = over;
    for (let level = 0; at; level += 1) {
      if (at === stage || level >= DEEPEST) return null;
      at = all.get(at.parent);
    }
    return over ?? null;
  };

  return {
    element,
    set(stages, { leftOut = 0, tools, now }) {
      const all = new Map(stages.map((stage) => [stage.id, stage]));
      for (const [id, row] of rows) {
        if (all.has(id)) continue;
        row.element.remove();
        rows.delete(id);
      }
      for (const stage of stages) if (!rows.has(stage.id)) rows.set(stage.id, new StageRow(stage, addressOf));
      const filled = new Map();
      for (const stage of stages) {
        const row = rows.get(stage.id);
        const over = above(stage, all);
        const host = over ? rows.get(over.id).children : root;
        // What stood inside this one and is above it now comes out first.
        if (row.element.contains(host)) root.append(rows.get(over.id).element);
        const at = filled.get(host) ?? 0;
        if (host.children[at] !== row.element) host.insertBefore(row.element, host.children[at] ?? null);
        filled.set(host, at + 1);
        row.draw(stage, tools.get(stage.id), now);
      }
      for (const row of rows.values()) show(row.children, row.children.childElementCount > 0);
      show(rest, leftOut > 0);
      say(rest, `${leftOut} earlier steps are not listed.`);
    },
  };
}
