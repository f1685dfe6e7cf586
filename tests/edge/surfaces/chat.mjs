// Reads a chat by the AI SDK's own transport and reducer, and prints what its UI would show.
import { DefaultChatTransport, readUIMessageStream } from "ai";

const [base, chat, agent] = process.argv.slice(2);
const transport = new DefaultChatTransport({ api: `${base}/api/chat`, body: { agent } });
const messages = [{ id: "u1", role: "user", parts: [{ type: "text", text: "hi" }] }];

async function last(stream, seen = () => {}) {
  let message;
  for await (const each of readUIMessageStream({ stream, terminateOnError: true })) seen((message = each));
  return message;
}

const sent = await transport.sendMessages({ chatId: chat, messages, trigger: "submit-message" });
let resumed;
let told = false;
const tell = () => {
  if (!told) console.log("resumed");
  told = true;
};
const first = await last(sent, (message) => {
  // In mid-message: a second tab, or the page after a refresh.
  if (!resumed && message.parts.some((part) => part.type === "text"))
    resumed = transport.reconnectToStream({ chatId: chat }).then((stream) => last(stream, tell));
});
const second = await resumed;
const nothing = await transport.reconnectToStream({ chatId: chat });
console.log(JSON.stringify({ first, second, nothing }));
