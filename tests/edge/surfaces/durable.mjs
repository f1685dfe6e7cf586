// Reads a run by the Durable Streams client: some of it, then on at the offset, over both live modes at once, to its end.
import { stream } from "@durable-streams/client";

const [url] = process.argv.slice(2);
const seen = (items) => items.map((event) => event.data.content ?? event.event_type);

const begun = await stream({ url, offset: "-1", live: false });
const first = seen(await begun.json());
console.log("begun");

async function follow(live) {
  const answer = await stream({ url, offset: begun.offset, live });
  const items = [];
  answer.subscribeJson(async (batch) => {
    if (!items.length && batch.items.length) console.log(live);
    items.push(...seen(batch.items));
  });
  await answer.closed;
  const over = await stream({ url, offset: answer.offset, live: true });
  return { items, closed: answer.streamClosed, over: [await over.json(), over.streamClosed] };
}

const [sse, poll] = await Promise.all([follow("sse"), follow("long-poll")]);
console.log(JSON.stringify({ first, sse, poll }));
