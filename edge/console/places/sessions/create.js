/** Makes a session: first how its events are delivered, with what that costs, then what it reads. */

import { copyButton, h, icon, say } from "../../dom.js";
import { asking } from "../../parts/again.js";
import { sentence } from "../../parts/states.js";
import { coloured } from "../../parts/json.js";
import { heading } from "../../parts/toolbar.js";
import { sessionsApi } from "./api.js";
import { sessionForm } from "./form.js";
import { METHODS } from "./methods.js";
import { showSecret } from "./secret.js";

function methodCards(chosen, choose) {
  return h("div.method-cards", { role: "radiogroup", "aria-label": "Delivery method" }, ...METHODS.map((method) => {
    const input = h("input", { type: "radio", name: "delivery_method", value: method.name, checked: method.name === chosen, onchange: () => choose(method.name) });
    return h("label.method-card", {}, input,
      h("span.method-title", {}, icon(method.icon), method.title),
      h("span", {}, method.text),
      h("span.cost", {}, h("b", {}, "Costs: "), method.costs),
      h("span.cost", {}, h("b", {}, "Mind: "), method.not));
  }));
}

/** The request that a program would send for the same. */
const curlOf = (body, base) => `curl -X POST '${base}/callbacks/sessions' -H 'Content-Type: application/json' -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;

export function createView(context, params) {
  const api = sessionsApi(context.client);
  const head = heading("sessions", "New session", { back: { href: context.addressOf("sessions"), label: "Sessions" } });
  const asked = METHODS.some(({ name }) => name === params.query.get("method")) ? params.query.get("method") : "websocket";
  const preview = h("pre.json", { tabindex: 0, "aria-label": "The request" });
  const drawPreview = () => preview.replaceChildren(...coloured(JSON.stringify(shownBody(form.body), null, 2)));
  const form = sessionForm({ changed: () => drawPreview() });
  form.method(asked);
  const make = h("button.primary", { type: "submit" }, "Make the session");
  const busy = h("span.faint", { role: "status" });
  const element = h("form.page.sessions.create", { id: "sessions", novalidate: true, onsubmit: (submit) => { submit.preventDefault(); send(); } },
    head.element,
    h("h3.step", {}, "How are its events delivered?"),
    methodCards(asked, (name) => { form.method(name); drawPreview(); }),
    form.element,
    h("details.request", {}, h("summary", {}, "The same as a request"), preview, h("div.row-of-buttons", {}, copyButton("Copy as curl", () => curlOf(form.body, context.client.base)))),
    h("div.submit-bar", {}, make, h("a.quiet", { href: context.addressOf("sessions") }, "Cancel"), busy));
  drawPreview();
  asking(async () => form.types.load(await api.types()), {
    failed: (fault) => form.types.failed(`The catalogue could not be read: ${sentence(fault.message)}`),
    needed: () => element.isConnected,
  })();

  const send = async () => {
    make.disabled = true;
    say(busy, "Making it …");
    form.fault(null);
    try {
      const made = await api.create(form.body);
      if (made.webhook_secret) await showSecret(made.webhook_secret, made.verification);
      context.toast(`Session ${made.name ?? made.session_id} is made.`);
      context.navigate(context.addressOf(made.delivery_method === "webhook" ? "webhooks" : "sessions", [made.session_id]), { replace: true });
    } catch (fault) {
      if (fault.status) form.fault(fault);
      else form.fault(new Error("The server cannot be reached. Nothing was made; try again."));
    } finally {
      make.disabled = false;
      say(busy, "");
    }
  };
  return { element, title: "New session", close() {} };
}

/** Secrets that are typed are in no preview. */
const shownBody = (body) => ({
  ...body,
  ...(body.secret && { secret: "***" }),
  ...(body.headers && { headers: Object.fromEntries(Object.keys(body.headers).map((name) => [name, "***"])) }),
});
