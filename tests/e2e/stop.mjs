// Reads a chat by the AI SDK in two tabs, stops it from the second one, and prints what both show.
import { DefaultChatTransport, readUIMessageStream } from "ai";

const [base, chat, agent] = process.argv.slice(2);
const tab = () => new DefaultChatTransport({ api: `${base}/api/chat`, body: { agent } });
const messages = [{ id: "u1", role: "user", parts: [{ type: "text", text: "hi" }] }];
const chunks = [];

function noting(stream) {
  return stream.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      chunks.push(chunk.type);
      controller.enqueue(chunk);
    },
  }));
}

async function last(stream, seen = () => {}) {
  let message;
  for await (const each of readUIMessageStream({ stream, terminateOnError: true })) seen((message = each));
  return message;
}

const whole = (message) => message.parts.some((part) => part.type === "text" && part.text.includes("an answer"));
let second;
const first = await last(
  noting(await tab().sendMessages({ chatId: chat, messages, trigger: "submit-message" })),
  (message) => {
    if (second || !whole(message)) return;
    let stopped;
    second = tab().reconnectToStream({ chatId: chat }).then((stream) =>
      last(stream, (each) => {
        if (!stopped && whole(each)) stopped = fetch(`${base}/api/chat/${chat}/stop`, { method: "POST" });
      }),
    );
  },
);
const other = await second;
const nothing = await tab().reconnectToStream({ chatId: chat });
console.log(JSON.stringify({ first, second: other, chunks, nothing }));
