// A chat by LangGraph's own React hook: what it shows is in the page, what it does is called from the test.
import { useStream } from "@langchain/langgraph-sdk/react";
import { createRoot } from "react-dom/client";

const asked = new URLSearchParams(location.search);

function Chat() {
  const stream = useStream({
    apiUrl: asked.get("edge"),
    assistantId: asked.get("agent"),
    threadId: asked.get("thread"),
    reconnectOnMount: true,
    fetchStateHistory: true,
    onError: (error) => console.error(String(error)),
  });
  window.send = (text) => void stream.submit({ messages: [{ type: "human", content: text }] });
  window.halt = () => void stream.stop();
  window.loading = stream.isLoading;
  window.shown = stream.messages.map(({ type, content }) => [type, content]);
  return <ol>{stream.messages.map((message, at) => <li key={message.id ?? at}>{`${message.type}: ${message.content}`}</li>)}</ol>;
}

createRoot(document.getElementById("page")).render(<Chat />);
