/** Lists the attempts of an endpoint, newest first: searched by the server, each with its timing, request and answer. */

import { h, icon, say, show } from "../../dom.js";
import { milliseconds, number } from "../../format.js";
import { passing } from "../../parts/again.js";
import { arrange, unpressed } from "../../parts/arrange.js";
import { filterBar } from "../../parts/filters.js";
import { coloured } from "../../parts/json.js";
import { faulty, loading, nothing, sentence } from "../../parts/states.js";
import { time } from "../../parts/time.js";
import { badge } from "../../views/panel.js";

const PAGE = 30;
const DELIVERY = /^(msg_)?[0-9a-f]{32}$/;

const VERDICTS = { delivered: ["Delivered", "ok"], retry: ["Failed, retried", "warn"], final: ["Given up", "bad"], postponed: ["Postponed", "warn"] };
const TRIGGERS = { manual: "resent", redrive: "redriven", verification: "consent" };
const PHASES = [["dns", "Name"], ["connect", "Connection"], ["tls", "TLS"], ["first_byte", "First byte"], ["total", "In all"]];

const FIELDS = [
  { name: "q", label: "Search attempts", kind: "search", placeholder: "Event id, webhook-id or subject (job.*.>)", wide: true },
  { name: "result", label: "Result", kind: "select", options: [["", "All results"], ["ok", "Delivered"], ["fail", "Failed"]] },
  { name: "status", label: "Answer's status", kind: "text", placeholder: "Status, as 503" },
];

/** What the search bar says, as the API takes it. */
export function asked({ q = "", result = "", status = "" }) {
  const text = q.trim();
  const place = DELIVERY.test(text) ? { delivery: text } : text.includes(".") || /[*>]/.test(text) ? { subject: text } : text ? { event: text } : {};
  return { ...place, ...(result && { result }), ...(/^\d{3}$/.test(status) && { status }) };
}

const keyOf = (attempt) => `${attempt.delivery} ${attempt.attempt} ${attempt.at}`;

/** Returns `{ element, read(), set(values) }`; `changed(values)` is called when the search was changed, `done()` after a resend, `earlier()` to replay the past. */
export function attemptsView({ api, toast, changed = () => {}, done = () => {}, earlier = null }) {
  const state = h("div.states", {}, loading("the attempts"));
  const list = h("div.attempt-list", { role: "list", "aria-label": "Attempts", hidden: true });
  const more = h("button.quiet", { type: "button", hidden: true, onclick: () => older() }, "Show older ones");
  const made = new Map();
  let next = null;
  let attempts = [];
  let turn = 0;
  const bar = filterBar(FIELDS, (values) => {
    attempts = [];
    changed(values);
    read();
  });
  const search = (q) => {
    bar.set({ ...bar.values, q });
    bar.field("q").value = q;
    attempts = [];
    changed(bar.values);
    read();
  };
  // Why there is no row; drawn anew only where that changes, so that a click on its button is not lost.
  let why = null;
  const explain = (reason) => {
    if (why === reason) return;
    why = reason;
    state.replaceChildren(...{
      "": () => [],
      older: () => [nothing({ icon: "search", title: "No such attempt", text: "None among the newest. Older ones are behind “Show older ones”." })],
      none: () => [nothing({ icon: "search", title: "No such attempt", text: "None of those that are kept is like that." })],
      new: () => [nothing({
        icon: "webhook", title: "Nothing was posted yet", text: "As soon as an event matches, its attempts stand here. Send a test event to see one, or what is already kept.",
        action: earlier && h("button.quiet", { type: "button", onclick: earlier }, icon("undo"), h("span", {}, "Replay the past …")),
      })],
    }[reason]());
  };
  /** What is read now stays where it is on the screen while newer attempts come in above it. */
  const held = (change) => {
    const open = [...list.querySelectorAll(".attempt-row[aria-expanded=true]")].find((each) => each.getBoundingClientRect().bottom > 0);
    const before = open?.getBoundingClientRect().top;
    change();
    if (open?.isConnected) scrollerOf(list).scrollTop += open.getBoundingClientRect().top - before;
  };
  const draw = unpressed(() => {
    const rows = attempts.map((attempt) => {
      const key = keyOf(attempt);
      if (!made.has(key)) made.set(key, row(attempt));
      return made.get(key);
    });
    if (rows.length !== list.children.length || rows.some((each, at) => each !== list.children[at])) held(() => arrange(list, rows));
    const kept = new Set(attempts.map(keyOf));
    for (const key of made.keys()) if (!kept.has(key)) made.delete(key);
    show(list, rows.length > 0);
    show(more, Boolean(next));
    const filtered = Object.values(bar.values).some(Boolean);
    explain(rows.length ? "" : filtered ? (next ? "older" : "none") : "new");
  });
  const read = async () => {
    const mine = (turn += 1);
    try {
      const page = await api.attempts({ ...asked(bar.values), limit: PAGE });
      if (mine !== turn) return;
      const known = new Set(page.attempts.map(keyOf));
      const oldest = page.attempts.at(-1)?.at ?? "";
      // Older pages that were asked for stay below the newest.
      const below = attempts.filter((each) => !known.has(keyOf(each)) && each.at < oldest);
      if (!below.length) next = page.next;
      attempts = [...page.attempts, ...below];
      draw();
    } catch (fault) {
      if (mine !== turn || (attempts.length && passing(fault))) return;
      show(list, false);
      if (why === fault.message) return;
      why = fault.message;
      state.replaceChildren(faulty(fault, "the attempts", { right: "see this session", again: read }));
    }
  };
  const older = async () => {
    more.disabled = true;
    try {
      const page = await api.attempts({ ...asked(bar.values), limit: PAGE, cursor: next });
      next = page.next;
      attempts = [...attempts, ...page.attempts];
      draw();
    } catch (fault) {
      toast(sentence(fault.message), "bad");
    } finally {
      more.disabled = false;
    }
  };

  const row = (attempt) => {
    const detail = h("div.attempt-detail", { hidden: true });
    const [word, tone] = VERDICTS[attempt.verdict] ?? [attempt.verdict, "quiet"];
    const trigger = TRIGGERS[attempt.trigger];
    const button = h("button.attempt-row", { type: "button", "aria-expanded": "false", onclick: () => {
      show(detail, detail.hidden);
      button.setAttribute("aria-expanded", String(!detail.hidden));
      if (!detail.childElementCount) detail.append(attemptDetail(attempt, { api, toast, search, done }));
    } }, time(attempt.at, "clock"), badge(word, tone), h("b", {}, attempt.status ? String(attempt.status) : attempt.error ?? "–"),
      h("span.subject", { title: attempt.subject }, attempt.subject || attempt.event, attempt.events.length > 1 && ` and ${number(attempt.events.length - 1)} more`),
      h("span.end", {}, trigger ?? `attempt ${attempt.attempt}`), h("span.end.took", {}, milliseconds(attempt.timing_ms.total)));
    return h("div.attempt", { role: "listitem", dataset: { delivery: attempt.delivery, verdict: attempt.verdict, attempt: attempt.attempt, trigger: attempt.trigger } }, button, detail);
  };

  const element = h("section.attempts", { "aria-label": "Attempts" }, h("h3.step", {}, "Attempts"), bar.element, state, list, h("div.row-of-buttons", {}, more));
  return { element, read, set: (values) => bar.set(values) };
}

/** What scrolls an element: an ancestor, or the document. */
function scrollerOf(element) {
  for (let each = element.parentElement; each && each !== document.body; each = each.parentElement) {
    if (each.scrollHeight > each.clientHeight && ["auto", "scroll"].includes(getComputedStyle(each).overflowY)) return each;
  }
  return document.body.scrollHeight > document.body.clientHeight && getComputedStyle(document.body).overflowY === "auto" ? document.body : document.scrollingElement;
}

function timing({ timing_ms: spans }) {
  const total = Math.max(spans.total, 0.001);
  return h("div.timing", {}, ...PHASES.filter(([name]) => Number.isFinite(spans[name]) && (name === "total" || spans[name] > 0)).map(([name, label]) => {
    const bar = h("span.bar");
    bar.style.transform = `scaleX(${Math.min(1, spans[name] / total)})`;
    return h("div.timing-row", {}, h("span", {}, label), h("span.track", {}, bar), h("span.end", {}, milliseconds(spans[name])));
  }));
}

function attemptDetail(attempt, { api, toast, search, done }) {
  const request = h("div", {}, h("p.faint", {}, "Reading what is posted …"));
  const resend = h("button.primary", { type: "button", onclick: async () => {
    resend.disabled = true;
    try {
      await api.resend({ delivery: attempt.delivery });
      toast("It is queued, and posted once more under the same webhook-id.");
      done();
    } catch (fault) {
      toast(fault.status ? sentence(fault.message) : "The server cannot be reached; nothing was resent.", "bad");
    } finally {
      resend.disabled = false;
    }
  } }, "Resend");
  const answer = [
    ["Answer", attempt.status ? `HTTP ${attempt.status}` : "None"],
    attempt.error && ["Fault", attempt.error],
    attempt.detail && ["Why", attempt.detail],
    ["Attempt", `${attempt.attempt}${TRIGGERS[attempt.trigger] ? `, ${TRIGGERS[attempt.trigger]}` : ""}`],
    ["Address", attempt.address ?? "Not reached"],
    ["Posted to", attempt.destination],
    ["webhook-id", attempt.webhook_id],
    ["Event", attempt.events.join("\n")],
    attempt.next_attempt_at && ["Tried again", time(attempt.next_attempt_at, "clock")],
  ].filter(Boolean).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
  drawRequest(request, attempt, api);
  return h("div", {},
    h("div.attempt-columns", {},
      h("div", {}, h("h4", {}, "Timing"), timing(attempt), h("dl.settings-list", {}, ...answer),
        h("h4", {}, "Answer's body"), attempt.response_head ? h("pre", { tabindex: 0, "aria-label": "Answer's body" }, attempt.response_head) : h("p.faint", {}, attempt.ok ? "Of a success it is not kept." : "There was none.")),
      h("div", {}, h("h4", {}, "Request"), request)),
    h("div.row-of-buttons", {}, resend, h("button.quiet", { type: "button", onclick: () => search(attempt.webhook_id) }, icon("search"), h("span", {}, "All attempts of this delivery"))));
}

async function drawRequest(place, attempt, api) {
  try {
    const { request } = await api.delivery(attempt.delivery);
    if (!request) return say(place.firstElementChild, "The event is older than what is kept, so its body cannot be shown.");
    const head = [`POST ${request.url}`, ...Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`), ""].join("\n");
    place.replaceChildren(h("pre", { tabindex: 0, "aria-label": "Request" }, head, "\n", ...coloured(pretty(request.body)), request.truncated && "\n…"));
  } catch (fault) {
    say(place.firstElementChild, fault.status ? sentence(fault.message) : "The server cannot be reached; open it again.");
  }
}

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};
