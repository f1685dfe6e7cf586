/** The cards of a run's page that say why it failed, how far it is, and what caused it. Each is updated in place. */

import { h, icon, meter, say, show } from "../../dom.js";
import { duration, number, percent, short, took as tookFor } from "../../format.js";
import { sentence } from "../../parts/states.js";
import { setTime, time } from "../../parts/time.js";
import { TERMINAL } from "../../store.js";
import { LEAST_RATE, doingOf, etaOf } from "../../views/runs.js";
import { ansi, plainText } from "./ansi.js";
import { cost } from "./tree.js";

const LINES_OF_WHY = 12;

/** The newest lines of errors; where there are none, those of all output. */
function lastWords(recent) {
  const errors = recent.filter(({ stream }) => stream === "stderr");
  return (errors.length ? errors : recent).slice(-LINES_OF_WHY);
}

/** Why a run is over that did not complete: its error, the step that failed, and what it printed last. */
export function whyCard() {
  const element = h("section.card.why-card", { "aria-label": "Why", hidden: true });
  let told = "";
  const set = (run, { stages, errors, recent }) => {
    const wrong = TERMINAL.has(run.status) && run.status !== "completed";
    show(element, wrong);
    if (!wrong) return;
    const failed = run.status === "failed";
    const broken = failed ? stages.filter(({ status }) => status === "failed") : [];
    const deepest = broken.filter(({ error }) => error).at(-1) ?? broken.at(-1) ?? null;
    const text = run.error || errors.at(-1)?.text || run.message || (failed ? "It did not say why." : "It was asked to stop.");
    const lines = failed ? lastWords(recent) : [];
    const now = JSON.stringify([run.status, run.exit_code, text, deepest, lines.map(({ id, text: line }) => [id, line])]);
    if (told === now) return;
    told = now;
    element.classList.toggle("stopped", !failed);
    // The exit code is said in the line above.
    const reason = plainText(text).replace(/^exit code \d+(: |$)/, "");
    const code = Number.isFinite(run.exit_code) ? ` with exit code ${run.exit_code}` : "";
    const step = deepest && `The step “${deepest.name}” failed${deepest.error && deepest.error !== run.error ? `: ${sentence(plainText(deepest.error))}` : "."}`;
    element.replaceChildren(
      h("p.line", {}, h("span.mark", {}, icon(failed ? "alert" : "stop")), h("strong", {}, failed ? `It failed${code}` : `It was stopped${code}`), time(run.updated)),
      reason ? h("p.reason", {}, reason) : "",
      step ? h("p", {}, step) : "",
      lines.length && !(lines.length === 1 && plainText(lines[0].text).trim() === reason.trim()) ? h("pre.detail-text", { tabindex: 0, "aria-label": "What it said last" }, ...lines.flatMap(({ text: line }) => [...ansi(line), "\n"])) : "");
  };
  return { element, set };
}

/** How far a run is, what is left of it, and its figures. */
export function progressCard() {
  const bar = meter("Progress");
  const part = h("strong.part");
  const doing = h("span.doing");
  const rest = h("span.left");
  const figures = h("dl.run-figures");
  const element = h("section.card.far", { "aria-label": "Progress" }, h("p.line", {}, part, doing, rest), bar.element, figures);
  const cells = new Map();

  const figure = (name, value, form = null) => {
    const given = value !== "" && value !== null && value !== undefined;
    if (given && !cells.has(name)) {
      cells.set(name, h("div", { dataset: { name } }, h("dt", {}, name), h("dd", {}, form ? time(value, form) : "")));
      figures.append(cells.get(name));
    }
    const cell = cells.get(name);
    if (!cell) return;
    show(cell, given);
    if (form && given) setTime(cell.querySelector("time"), value);
    else if (given) say(cell.lastElementChild, String(value));
  };
  const set = (run, key, now) => {
    const over = TERMINAL.has(run.status);
    const eta = over ? null : etaOf(run, now);
    const took = over ? run.duration ?? (run.updated - run.started) / 1000 : (now - run.started) / 1000;
    const { current, total } = run.steps ?? {};
    say(part, percent(run.progress));
    say(doing, doingOf(run, over ? "" : run.message));
    say(rest, eta !== null ? `${duration(eta)} left` : "");
    // Of a run that ended before it told how far it was, there is nothing to draw.
    show(bar.element, !over || run.status === "completed" || Number.isFinite(run.progress));
    bar.set(over && run.status === "completed" ? 1 : run.progress ?? (over ? 0 : null));
    figure("Began", Number.isFinite(run.started) ? run.started : "", "ago");
    figure("Runs for", !over && Number.isFinite(took) ? duration(took) : "");
    figure("Took", over && Number.isFinite(took) ? tookFor(took) : "");
    figure("Ended", over ? run.updated : "", "ago");
    figure("Ends at", eta ? Math.round((now + eta * 1000) / 1000) * 1000 : "", "second");
    figure("Rate", !over && run.rate >= LEAST_RATE ? `${short(run.rate)}/s` : "");
    figure("Done", Number.isFinite(current) ? `${number(current)}${Number.isFinite(total) ? ` of ${number(total)}` : ""}` : "");
    figure("Tokens", Number.isFinite(run.tokens_used) ? number(run.tokens_used) : "");
    figure("Cost", cost(run.cost));
    figure("Exit code", Number.isFinite(run.exit_code) ? run.exit_code : "");
    figure("Part of", run.parent);
    figure("Id", key);
  };
  return { element, set };
}

/** From the end of a run, or its newest event, back to what caused it. */
export function causeCard(addressOf) {
  const list = h("ol.causes");
  const element = h("section.card.cause-card", { "aria-label": "Cause chain", hidden: true }, h("h3", {}, "Cause chain"), list);
  let told = "";
  const line = (id, name, at, query) => h("li", {}, h("a", { href: addressOf("events", [], query) }, name), at && time(at), h("code", {}, id));
  const set = (record) => {
    const newest = record.end?.id ?? [...record.events.keys()].at(-1);
    const chain = newest ? record.chain(newest) : [];
    const far = chain.at(-1)?.cause ?? null;
    show(element, chain.length > 0);
    const now = JSON.stringify([chain.map(({ id }) => id), far]);
    if (told === now) return;
    told = now;
    list.replaceChildren(
      ...chain.map(({ id, type, at, cursor }) => line(id, type, at, { at: cursor })),
      far ? line(far, "An event elsewhere", null, { id: far }) : h("li.faint", {}, "No cause is known."));
  };
  return { element, set };
}
