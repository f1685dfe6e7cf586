/** Sends a test event on the path of real ones, and shows what its receiver answered. */

import { h, icon, say } from "../../dom.js";
import { milliseconds } from "../../format.js";
import { dialog } from "../../parts/dialog.js";
import { jsonView } from "../../parts/json.js";
import { sentence } from "../../parts/states.js";
import { badge } from "../../views/panel.js";
import { field } from "./fields.js";

// How long the first attempt of a webhook is waited for (s).
const WAIT = 15;

const OUTCOMES = {
  delivered: ["Delivered", "ok", "The receiver took it."],
  failed: ["Failed", "bad", "The first attempt failed; retries follow as the session says."],
  held: ["Held", "warn", "The endpoint takes nothing just now; the event waits."],
  not_matched: ["Not matched", "warn", "It was published, but this session leaves it out."],
  published: ["Published", "ok", "It is stored, and whoever reads the session gets it."],
};

/**
 * Opens the dialog; `done()` is called after each test. With `changed(session)` a session whose subjects leave its test events out
 * can be given their subject here; it is called with what the server then says of the session.
 */
export function testDialog(session, api, { done = () => {}, changed = null } = {}) {
  const own = `session.${session.session_id}.>`;
  const types = session.events?.length ? session.events : ["progress", "thinking", "completion", "error"];
  const type = field({ name: "event_type", label: "Event type", kind: session.events?.length ? "select" : "text", options: types.map((each) => [each, each]), value: types[0] });
  const data = field({ name: "test_data", label: "Data (JSON)", kind: "area", placeholder: "Left out: the example of the catalogue", hint: "An object.", wide: true });
  const answer = h("div.test-answer", { role: "status" });
  const send = h("button.primary", { type: "submit" }, "Send the test event");
  const isWebhook = session.delivery_method === "webhook";
  const form = h("form", { onsubmit: (submit) => { submit.preventDefault(); run(); } },
    h("p", {}, isWebhook ? `It is posted to ${session.webhook_url}, signed as real ones are and marked with "test": true.` : "Whoever reads this session gets it, marked with \"test\": true."),
    type.element, data.element, h("div.row-of-buttons.end", {}, send), answer);
  const run = async () => {
    data.fault("");
    let given;
    try {
      given = data.value === null ? {} : { test_data: JSON.parse(data.value) };
    } catch {
      return data.fault("This is not JSON.");
    }
    send.disabled = true;
    say(answer, isWebhook ? "Waiting for the receiver …" : "Sending …");
    try {
      const result = await api.test({ event_type: type.value ?? "progress", ...given }, isWebhook ? WAIT : 0);
      answer.replaceChildren(...answerOf(result, isWebhook));
      const widens = changed && result.status === "not_matched" && session.subjects?.length && !session.subjects.includes(own);
      if (widens) answer.firstElementChild.after(h("div.row-of-buttons", {}, h("button.quiet", { type: "button", onclick: widen }, icon("plus"), h("span", {}, "Add their subject to the session, and send again"))));
      done();
    } catch (fault) {
      answer.replaceChildren(badge("Not sent", "bad"), h("p", {}, fault.status ? sentence(fault.message) : "The server cannot be reached; try again."));
    } finally {
      send.disabled = false;
    }
  };
  const widen = async () => {
    say(answer, "Adding the subject …");
    try {
      session = await api.change({ subjects: [...session.subjects, own] });
      changed(session);
    } catch (fault) {
      return answer.replaceChildren(badge("Not changed", "bad"), h("p", {}, fault.status ? sentence(fault.message) : "The server cannot be reached; try again."));
    }
    await run();
  };
  return dialog("Test this session", [form], { wide: true });
}

function answerOf(result, isWebhook) {
  const waiting = isWebhook && result.status === "published";
  const [label, tone, meaning] = waiting ? ["No answer yet", "warn", `No attempt was made within ${WAIT} s. It is queued, and the attempts will show it.`] : OUTCOMES[result.status];
  return [
    h("div.line", {}, badge(label, tone), h("span", {}, result.detail ? sentence(result.detail) : meaning)),
    result.attempt && attemptFacts(result.attempt),
    jsonView(result, { label: "The answer" }),
  ].filter(Boolean);
}

/** What a receiver answered, in a few lines. */
export function attemptFacts(attempt) {
  const { timing_ms: timing } = attempt;
  const phases = [["dns", "name"], ["connect", "connection"], ["tls", "TLS"], ["first_byte", "first byte"], ["total", "in all"]]
    .filter(([name]) => timing[name] !== undefined && timing[name] !== null).map(([name, label]) => `${label} ${milliseconds(timing[name])}`);
  return h("dl.settings-list.answer-facts", {}, ...[
    ["Answer", attempt.status ? `HTTP ${attempt.status}` : `None: ${attempt.error ?? "unknown"}`],
    attempt.error && attempt.status && ["Fault", attempt.error],
    attempt.detail && ["Why", attempt.detail],
    ["Took", phases.join(", ")],
    attempt.address && ["Address", attempt.address],
    attempt.next_attempt_at && ["Tried again", new Date(attempt.next_attempt_at).toLocaleTimeString()],
    attempt.response_head && ["Body", attempt.response_head],
  ].filter(Boolean).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export const testTool = (open) => h("button.tool.wide", { type: "button", onclick: open }, icon("play"), h("span", {}, "Test"));
