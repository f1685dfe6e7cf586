// Runs an agent by AG-UI's own client, which verifies the order of events, and prints what it made of them.
import { HttpAgent } from "@ag-ui/client";

const [base, thread, name] = process.argv.slice(2);
const agent = new HttpAgent({ url: `${base}/ag-ui/${name}`, threadId: thread });
agent.messages = [{ id: "u1", role: "user", content: "hi" }];
const seen = [];
await agent.runAgent({ runId: "r1" }, { onEvent: ({ event }) => void seen.push(event.type) });
console.log(JSON.stringify({ messages: agent.messages, state: agent.state, seen }));
