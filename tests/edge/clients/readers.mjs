// Reads one session with a client of npm, as its users do: `node readers.mjs CLIENT URL COUNT START`.
// Prints `reader cursor` for each event. Whatever a client does by itself to come back is left to it.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [client, url, count, start] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (reader, cursor) => process.stdout.write(`${reader} ${cursor}\n`);

// Clients that resume by themselves, by the last id they have read.
const streams = {
  async eventsource(reader) {
    const { EventSource } = await load("eventsource");
    new EventSource(`${url}/sse`).onmessage = (event) => say(reader, event.lastEventId);
  },
  async "eventsource-client"(reader) {
    const { createEventSource } = require("eventsource-client");
    createEventSource({
      url: `${url}/sse`,
      onMessage: ({ event, id }) => event === undefined && say(reader, id),
    });
  },
  async "fetch-event-source"(reader) {
    // Made for pages; of those it needs no more than this.
    globalThis.window ??= globalThis;
    globalThis.document ??= { hidden: false, addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = require("@microsoft/fetch-event-source");
    fetchEventSource(`${url}/sse`, {
      openWhenHidden: true,
      // It parses what it gets, as the guide's samples do; a throw would end the connection.
      onmessage: (message) => {
        JSON.parse(message.data);
        if (message.event === "") say(reader, message.id);
      },
      onclose: () => {
        throw new Error("come back");
      },
      onerror: () => undefined,
    });
  },
  async "event-source-polyfill"(reader) {
    const { EventSourcePolyfill } = require("event-source-polyfill");
    new EventSourcePolyfill(`${url}/sse`).onmessage = (event) => say(reader, event.lastEventId);
  },
  async "launchdarkly-eventsource"(reader) {
    const { EventSource } = require("launchdarkly-eventsource");
    const source = new EventSource(`${url}/sse`, { errorFilter: () => true, maxBackoffMillis: 1000 });
    // Without a listener each broken connection would end the process.
    source.onerror = () => {};
    source.onmessage = (event) => say(reader, event.lastEventId);
  },
};

// WebSockets resume by the cursor of the last event, in the query.
async function socket(reader, WebSocket) {
  let cursor = start;
  for (;;) {
    await new Promise((resolve) => {
      const connection = new WebSocket(`${url.replace("http", "ws")}/ws?cursor=${cursor}`);
      connection.onmessage = ({ data }) => {
        const said = JSON.parse(data);
        if (said.control === "gap") throw new Error("a gap");
        if (said.cursor) cursor = said.cursor;
        if (!said.control) say(reader, cursor);
      };
      // undici says no more than this of a handshake that failed.
      connection.onerror = resolve;
      connection.onclose = resolve;
    });
    await pause(50);
  }
}

const sockets = {
  ws: async (reader) => socket(reader, require("ws")),
  undici: async (reader) => socket(reader, require("undici").WebSocket),
};

for (let reader = 0; reader < Number(count); reader++) ({ ...streams, ...sockets })[client](reader);
