// A page with components that have every hook, in StrictMode, rendered anew as often as a test asks.
import { StrictMode, useReducer } from "react";
import { createRoot } from "react-dom/client";
import {
  CallboardProvider, useAgentStream, useCampaignMetricsStream, useCouncilScoreStream, useEvents, useJobProgress, useLiveMetrics,
  useRealtimeAlerts, useRenderProgressStream, useSSE, useWebSocket,
} from "callboard-client/react";

const shown = (window.shown = {});
window.renders = 0;

function Everything({ id, sse, socket }) {
  window.renders += 1;
  const set = (name, value) => (shown[name] = value);
  set("render", useRenderProgressStream(id));
  set("job", useJobProgress(id));
  set("campaign", useCampaignMetricsStream(id));
  set("metrics", useLiveMetrics(id, "campaign"));
  set("alerts", useRealtimeAlerts(id));
  set("agent", useAgentStream({ onStatusChange: (status) => (window.statuses ??= []).push(status) }, id));
  set("council", useCouncilScoreStream("video.mp4", `a transcript of ${id}`));
  set("events", useEvents({ subjects: [`job.${id}.>`], last: 3 }));
  // Written inline, as people do: new functions at each render.
  set("sse", useSSE(sse, { onMessage: (data) => (window.pieces ??= []).push(data), onError: () => {} }));
  set("socket", useWebSocket(socket, { onMessage: (data) => (window.words ??= []).push(data) }));
  return null;
}

function Page({ count, places }) {
  const [turn, again] = useReducer((n) => n + 1, 0);
  window.again = again;
  window.turn = turn;
  return Array.from({ length: count }, (_, n) => <Everything key={n} {...places} />);
}

const DOCUMENTS = { id: "one", sse: "/documents/one/sse", socket: "/documents/one/ws" };

export function mount(options, count, places = DOCUMENTS) {
  const root = createRoot(document.body.appendChild(document.createElement("main")));
  root.render(
    <StrictMode>
      <CallboardProvider url={location.origin} options={options}>
        <Page count={count} places={places} />
      </CallboardProvider>
    </StrictMode>,
  );
  window.unmount = () => root.unmount();
}
window.mount = mount;
