// Runs an agent by LangGraph's own client: streams a run whose connection is cut, joins it in the middle, cancels the next one.
import { Client } from "@langchain/langgraph-sdk";

const [base, thread, agent] = process.argv.slice(2);
const client = new Client({ apiUrl: base });
const input = { messages: [{ type: "human", content: "hi" }] };
const say = (line) => console.log(line);

const assistants = await client.assistants.search({ graphId: agent });
const named = await client.threads.create({ threadId: thread });
const parts = [];
let created;
const stream = client.runs.stream(thread, agent, {
  input,
  streamMode: ["values", "messages-tuple", "custom"],
  onRunCreated: (run) => (created = run),
});
for await (const part of stream) {
  parts.push(part);
  // The wire is cut now; the client comes back by itself.
  if (parts.filter(({ event }) => event === "messages").length === 1) say("seen");
}
const { run_id: run } = created;
const middle = parts.findIndex(({ event }) => event === "messages");
const joined = [];
for await (const part of client.runs.joinStream(thread, run, {
  lastEventId: parts[middle].id,
  streamMode: ["values", "messages-tuple", "custom"],
}))
  joined.push(part);
const again = [];
for await (const part of client.runs.joinStream(thread, run, { lastEventId: parts.at(-1).id })) again.push(part);
const state = await client.threads.getState(thread);
const history = await client.threads.getHistory(thread);
const got = await client.runs.get(thread, run);

const second = await client.runs.create(thread, agent, { input });
const cancelled = client.runs.cancel(thread, second.run_id, true);
await cancelled;
const values = await client.runs.join(thread, second.run_id);
const list = await client.runs.list(thread);
let failure;
try {
  await client.runs.wait(thread, agent, { input });
} catch (error) {
  failure = error.message;
}
let refusal;
try {
  await client.runs.cancel(thread, run);
} catch (error) {
  refusal = error.status;
}
const last = { event: parts.at(-1).event, tail: parts.slice(middle + 1), joined, again };
say(JSON.stringify({ assistants, named, created, parts, last, state, history, got, second, values, list, failure, refusal }));
