// Chats by the libraries that people use, each as its documentation has it, and what they show for a test to read.
import { StrictMode, useEffect, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";
import { HttpAgent } from "@ag-ui/client";
import { useChat } from "@ai-sdk/react";
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { fetchServerSentEvents, useChat as useTanStackChat } from "@tanstack/ai-react";
import { CallboardProvider, useAgentStream } from "callboard-client/react";
import { DefaultChatTransport } from "ai";
import { EventSource as Ponyfill } from "eventsource";

const SOON = 300;
// `text` is what the page shows of the answers, `answers` their ids, `ends` how runs have ended.
const shown = (window.shown = { text: "", answers: [], ends: [], faults: [], status: "" });
const post = (url, body = {}) =>
  fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

function show(messages, textOf, status) {
  const answers = messages.filter((message) => message.role === "assistant");
  const asked = messages.filter((message) => message.role === "user").map(textOf);
  Object.assign(shown, { text: answers.map(textOf).join(""), answers: answers.map((message) => message.id), asked, status });
}

const partsText = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text ?? part.content).join("");

function AiSdk({ edge, thread, agent }) {
  const transport = useMemo(() => new DefaultChatTransport({ api: `${edge}/api/chat`, body: { agent } }), []);
  const { messages, sendMessage, resumeStream, status, error } = useChat({
    id: thread,
    resume: true,
    transport,
    onFinish: ({ isError }) => void (isError || shown.ends.push("finished")),
    onError: (fault) => shown.faults.push(String(fault)),
  });
  // A connection that broke: the hook says so, and has a function to go on.
  useEffect(() => {
    if (status !== "error") return undefined;
    const timer = setTimeout(resumeStream, SOON);
    return () => clearTimeout(timer);
  }, [status, error]);
  window.send = (text) => sendMessage({ text });
  window.stop = () => post(`${edge}/api/chat/${thread}/stop`);
  show(messages, partsText, status);
  return null;
}

// `requestInit` is where its documentation has one change the request.
class JoinedRun extends HttpAgent {
  requestInit() {
    return { method: "GET", headers: { Accept: "text/event-stream" }, signal: this.abortController.signal };
  }
}

function AgUi({ edge, thread, agent }) {
  useEffect(() => {
    let gone = false;
    let reading;
    const subscriber = {
      onEvent: ({ event }) => {
        if (event.type === "RUN_FINISHED" || (event.type === "RUN_ERROR" && event.code !== "connection_closed")) shown.ends.push(event.type);
      },
      onMessagesChanged: ({ messages }) => gone || show(messages, (message) => message.content ?? "", "streaming"),
    };
    const join = () => new JoinedRun({ url: `${edge}/ag-ui/threads/${thread}`, threadId: thread });
    async function read(source, input) {
      for (reading = source; !gone; reading = join()) {
        try {
          await reading.runAgent(input, subscriber);
          if (shown.ends.length) return;
        } catch (fault) {
          shown.faults.push(String(fault));
          if (/\b404\b/.test(String(fault))) return;
        }
        await new Promise((again) => setTimeout(again, SOON));
      }
    }
    window.send = (text) => {
      const source = new HttpAgent({ url: `${edge}/ag-ui/${agent}`, threadId: thread });
      source.messages = [{ id: "u1", role: "user", content: text }];
      read(source, { runId: crypto.randomUUID() });
    };
    window.stop = () => post(`${edge}/ag-ui/threads/${thread}/stop`);
    read(join(), {});
    return () => {
      gone = true;
      reading?.abortRun();
    };
  }, []);
  return null;
}

function TanStack({ edge, thread, agent }) {
  // By default it gives up after five attempts, 1.25 s.
  const connection = useMemo(() => fetchServerSentEvents(`${edge}/tanstack/${agent}`, { reconnect: { maxAttempts: 400 } }), []);
  const { messages, sendMessage, status } = useTanStackChat({
    connection,
    threadId: thread,
    persistence: true,
    onChunk: (chunk) => void (/^RUN_(FINISHED|ERROR)$/.test(chunk.type) && shown.ends.push(chunk.type)),
    onError: (fault) => shown.faults.push(String(fault)),
  });
  window.send = sendMessage;
  window.stop = () => post(`${edge}/ag-ui/threads/${thread}/stop`);
  show(messages, partsText, status);
  return null;
}

function OurHook({ edge, thread, agent }) {
  const { textContent, status, stopStreaming } = useAgentStream({ onClose: (how) => shown.ends.push(how) }, thread);
  window.send = (message) => post(`${edge}/thread/${thread}/agent/start`, { agent, message });
  window.stop = stopStreaming;
  Object.assign(shown, { text: textContent, answers: textContent ? [thread] : [], status });
  return null;
}

// Readers of server-sent events, on the address of the agent-run guide. `close` is the end of a run.
const bySource = (Source) => (url, hear, close) => {
  const source = new Source(url);
  source.onmessage = (message) => hear(message.data);
  source.addEventListener("close", () => (close(), source.close()));
  return () => source.close();
};

function byFetch(url, hear, close) {
  const control = new AbortController();
  const onmessage = (message) => {
    if (message.event === "close") close(control.abort());
    else if (!message.event) hear(message.data);
  };
  // To it a response that ends is over, unless one says otherwise, as its README does.
  const onclose = () => {
    throw new Error("it ended before its run");
  };
  fetchEventSource(url, { signal: control.signal, openWhenHidden: true, onmessage, onclose }).catch((fault) => shown.faults.push(String(fault)));
  return () => control.abort();
}

const reader = (open) =>
  function Reader({ edge, thread, agent }) {
    useEffect(() => {
      let leave;
      let gone = false;
      function read(run) {
        if (gone || leave) return;
        shown.answers = [run];
        window.stop = () => post(`${edge}/agent-run/${run}/stop`);
        const hear = (said) => {
          const { type, content } = JSON.parse(said);
          if (type === "token") shown.text += content;
        };
        leave = open(`${edge}/agent-run/${run}/stream`, hear, () => shown.ends.push("closed"));
      }
      window.send = async (message) => read((await (await post(`${edge}/thread/${thread}/agent/start`, { agent, message })).json()).agent_run_id);
      fetch(`${edge}/thread/${thread}`).then(async (answer) => answer.ok && read((await answer.json()).agent_run_id));
      return () => ((gone = true), leave?.());
    }, []);
    return null;
  };

const LIBRARIES = {
  "ai-sdk": AiSdk,
  "ag-ui": AgUi,
  tanstack: TanStack,
  callboard: OurHook,
  browser: reader(bySource(EventSource)),
  eventsource: reader(bySource(Ponyfill)),
  "fetch-event-source": reader(byFetch),
};

const given = Object.fromEntries(new URLSearchParams(location.search));
const Library = LIBRARIES[given.library];
createRoot(document.body.appendChild(document.createElement("main"))).render(
  <StrictMode>
    <CallboardProvider url={given.edge}>
      <Library {...given} />
    </CallboardProvider>
  </StrictMode>,
);
