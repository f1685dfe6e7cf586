/** Sends dead letters again: the dialog with its trial, and the list of the jobs that do it. */

import { ask } from "../../../client/http.js";
import { h, icon, meter, say, show } from "../../dom.js";
import { duration, number, short } from "../../format.js";
import { dialog } from "../../parts/dialog.js";
import { sentence } from "../../parts/states.js";
import { time } from "../../parts/time.js";
import { badge, rebadge } from "../../views/panel.js";
import { described, left } from "./reasons.js";

const RATE = 100;
const FASTEST = 10_000;
// How often a trial is asked how far it is (ms).
const ASKING = 300;
const SHOWN = 6;
const STATES = { running: ["Running", "info"], done: ["Done", "ok"], failed: ["Failed", "bad"], cancelled: ["Cancelled", "quiet"] };

export const remove = async (client, path) => ask(client.base, "DELETE", path, { token: await client.board.proof() });
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** What a job did or would do, as a sentence. */
export function outcome(job) {
  const stay = job.skipped + job.failed;
  const verb = job.dry_run ? "would be sent again" : "sent again";
  const why = stay ? ` ${number(stay)} ${job.dry_run ? "would stay" : "stayed"}: ${left(job.reasons)}.` : "";
  const back = job.returned ? ` ${number(job.returned)} came back.` : "";
  return `${number(job.sent)} of ${number(job.total ?? 0)} ${verb}.${why}${back}`;
}

/** Leads to the endpoints that take nothing right now; null where all take what is sent. `follow()` is called when one is chosen. */
function blockedLinks(addressOf, sessions, follow = null) {
  if (!sessions.length) return null;
  const links = sessions.flatMap((session) => [" ", h("a", { href: addressOf("webhooks", [session]), onclick: follow }, session)]);
  return h("span.blocked", {}, sessions.length === 1 ? " See its endpoint:" : " See the endpoints:", ...links);
}

function numberField(label, { value = "", min, max, name, placeholder = "" }) {
  const input = h("input", { type: "number", name, min, max, step: "any", value, placeholder });
  return { input, element: h("label.field", {}, h("span", {}, label), input) };
}

/**
 * Asks how, and starts it. `order` is `{ id }` or `{ filter }`, `session` whose webhook it is for, where it is for one alone;
 * returns a promise of the job, null where it was left.
 */
export function redriveDialog({ client, addressOf }, { what, order, session = null, count = null }) {
  const rate = numberField("Events a second", { name: "rate", value: RATE, min: 0.1, max: FASTEST });
  const limit = numberField("At most (empty for all)", { name: "limit", min: 1, max: 1_000_000, placeholder: "all" });
  const force = h("input", { type: "checkbox", name: "force" });
  const said = h("p.said", { role: "status" });
  const trying = h("button.quiet.try", { type: "button", onclick: () => attempt(true) }, icon("search"), h("span", {}, "Try first"));
  const sending = h("button.primary.send", { type: "submit" }, "Send again");
  let closed = false;
  const many = order.id === undefined;
  const form = h("form.order", { onsubmit: (submit) => { submit.preventDefault(); attempt(false); } },
    h("p", {}, `${what}${count === null ? "" : ` (${number(count)})`}. What is sent goes to whom it was meant for and to nobody else; then it is a dead letter no more.`),
    many && h("div.fields", {}, rate.element, limit.element),
    h("label.flag", {}, force, h("span", {}, "Force: also to disabled endpoints, past open circuit breakers, and for the sixth time")),
    said,
    h("div.row-of-buttons.end", {}, trying, sending));
  const made = dialog("Send again", form);

  const busy = (is) => {
    trying.disabled = is;
    sending.disabled = is;
  };
  const tell = (text, tone = "", blocked = []) => {
    said.className = `said ${tone}`;
    const links = blockedLinks(addressOf, blocked, () => made.close());
    said.replaceChildren(text, ...(links ? [links] : []));
  };
  const attempt = async (dry) => {
    if (!form.reportValidity()) return;
    busy(true);
    tell(dry ? "Trying …" : "Starting …");
    const more = many ? { rate: dry ? FASTEST : Number(rate.input.value) || RATE, ...(limit.input.value ? { limit: Math.floor(Number(limit.input.value)) } : {}) } : {};
    try {
      let job = await client.post("/deadletters/redrive", { ...order, ...more, force: force.checked, dry_run: dry });
      if (!dry) return made.close(job);
      while (!closed && job.state === "running") {
        await pause(ASKING);
        job = await client.get(`/deadletters/jobs/${job.id}`);
        if (job.state === "running") tell(`Trying … ${number(job.sent + job.skipped)}${job.total === null ? "" : ` of ${number(job.total)}`}`);
      }
      tell(job.state === "failed" ? sentence(job.error) : outcome(job), job.sent ? "ok" : "warn", Object.keys(job.blocked ?? {}));
    } catch (fault) {
      tell(`${dry ? "It could not be tried" : "It was not started"}: ${fault.message}.`, "bad", fault.code === "redrive_refused" && session ? [session] : []);
    }
    busy(false);
  };
  sending.focus();
  return made.closed.finally(() => (closed = true));
}

/** The redrives as rows that stay while they last. `cancel(job)` is called for the one that is to end. */
export function jobList(addressOf, cancel) {
  const list = h("ol.jobs", { "aria-label": "Sent again" });
  const element = h("section.card", { "aria-label": "Sent again", hidden: true }, h("h3", {}, "Sent again in the last week"), list);
  const rows = new Map();

  const make = (job) => {
    const parts = { status: badge(""), what: h("span.what"), when: time(job.created), bar: meter("Progress of sending again"), text: h("span"), links: h("span") };
    parts.stop = h("button.quiet", { type: "button", onclick: () => cancel(parts.job) }, icon("cross"), h("span", {}, "Cancel"));
    parts.element = h("li", { dataset: { job: job.id } }, h("p.line", {}, parts.status, parts.what, parts.when, parts.stop), parts.bar.element, h("p.said-of", {}, parts.text, parts.links));
    return parts;
  };
  const draw = (row, job) => {
    row.job = job;
    const going = job.state === "running";
    rebadge(row.status, ...(STATES[job.state] ?? [job.state, "quiet"]));
    row.element.dataset.state = job.state;
    const what = job.letter ? `dead letter ${job.letter}` : described(job.filter);
    say(row.what, job.dry_run ? `Trial: ${what}` : what.replace(/^./, (first) => first.toUpperCase()));
    show(row.stop, going);
    show(row.bar.element, going);
    const handled = job.sent + job.failed + job.skipped;
    row.bar.set(job.total ? handled / job.total : null);
    const blocked = Object.keys(job.blocked ?? {});
    if (row.links.childElementCount === 0 || row.blocked !== blocked.length) row.links.replaceChildren(blockedLinks(addressOf, blocked) ?? "");
    row.blocked = blocked.length;
    say(row.text, going ? [`${number(handled)}${job.total === null ? "" : ` of ${number(job.total)}`}`, `at most ${short(job.rate)}/s`, Number.isFinite(job.eta) && `${duration(job.eta)} left`, job.skipped + job.failed > 0 && `${number(job.skipped + job.failed)} stay: ${left(job.reasons)}`].filter(Boolean).join(" · ") : [job.error && sentence(job.error), outcome(job)].filter(Boolean).join(" "));
  };
  return {
    element,
    set(jobs) {
      const shown = jobs.filter((job) => !job.dry_run || job.state === "running").slice(0, SHOWN);
      const lines = shown.map((job) => {
        if (!rows.has(job.id)) rows.set(job.id, make(job));
        draw(rows.get(job.id), job);
        return rows.get(job.id).element;
      });
      if (lines.length !== list.childElementCount || lines.some((line, at) => list.children[at] !== line)) list.replaceChildren(...lines);
      for (const [id, row] of rows) if (!lines.includes(row.element)) rows.delete(id);
      show(element, lines.length > 0);
    },
  };
}
