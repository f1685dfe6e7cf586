/** An endpoint in the console: with the way to its session, and to a page for its own owner. */

import { h, icon } from "../../dom.js";
import { sessionsApi } from "../sessions/api.js";
import { endpointView } from "./endpoint.js";

export function placeView(context, id, search) {
  const api = sessionsApi(context.client).session(id);
  const view = endpointView({
    api, id, search, toast: context.toast, now: context.now,
    back: { href: context.addressOf("webhooks"), label: "Webhooks" },
    titled: context.retitle,
    searched: (values) => context.mark([id], values),
    tools: () => [
      h("a.tool.wide", { href: context.addressOf("sessions", [id]) }, icon("sessions"), h("span", {}, "Session")),
    ],
  });
  return { ...view, title: "Webhook" };
}
