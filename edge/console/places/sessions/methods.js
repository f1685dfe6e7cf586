/** What each way of delivery is for, what it costs, and how a program reads by it. */

export const METHODS = [
  {
    name: "websocket", title: "WebSocket", icon: "stream",
    text: "For browsers and dashboards. The lowest latency, and both sides may talk.",
    costs: "One open connection per reader, a few KiB of memory here. Nothing is lost on a reconnect: the cursor resumes.",
    not: "Some company proxies cut WebSockets; the client then falls back to SSE.",
  },
  {
    name: "sse", title: "Server-sent events", icon: "runs",
    text: "For EventSource, curl and HTTP clients. Reconnects by itself, one way only.",
    costs: "One open connection per reader. HTTP/1.1 browsers open at most six to a host, over all tabs.",
    not: "A proxy that buffers answers holds events back: switch that off for this path.",
  },
  {
    name: "polling", title: "Polling", icon: "clock",
    text: "For scripts, cron jobs and strict firewalls: ask, get a page and a cursor, ask again.",
    costs: "One request for each question; as late as you ask. With wait=20 it answers at once when something comes.",
    not: "Nobody is told anything between two questions.",
  },
  {
    name: "webhook", title: "Webhook", icon: "webhook",
    text: "For servers that should be told: each event is posted to your address, signed, and tried again where that fails.",
    costs: "No open connection. A slow or dead receiver delays only itself; each event arrives at least once.",
    not: "Your address must be reachable from this server, answer 2xx within the timeout and tolerate repeats.",
  },
];

export const titleOf = (method) => METHODS.find(({ name }) => name === method)?.title ?? method;
export const iconOf = (method) => METHODS.find(({ name }) => name === method)?.icon ?? "sessions";

/** Programs that read a session: `[title, text]`. */
export function programsFor(session, base) {
  const self = `${base}/callbacks/sessions/${session.session_id}`;
  const socket = self.replace(/^http/, "ws");
  const programs = {
    websocket: [["Browser, without a library", `const socket = new WebSocket("${socket}/ws");\nsocket.onmessage = ({ data }) => console.log(JSON.parse(data));`]],
    sse: [["curl", `curl -N ${self}/sse`], ["Browser, without a library", `new EventSource("${self}/sse").onmessage = ({ data }) => console.log(JSON.parse(data));`]],
    polling: [["curl", `curl '${self}/events?wait=20'`]],
    webhook: [],
  }[session.delivery_method] ?? [];
  if (session.delivery_method === "webhook") return programs;
  return [["JavaScript client", `import { connect } from "${base}/client.js";\nconnect("${self}").on("*", (event) => console.log(event.subject, event.data));`], ...programs];
}
