/**
 * React hooks over one shared connection, with the names and fields of the real-time guide and the streaming guide.
 *
 *     const { progress, stage, estimatedTime } = useRenderProgressStream(jobId);
 *
 * A hook reads a value outside of React (`useSyncExternalStore`): rendering opens nothing, a thousand renders of a hundred
 * components read by one connection, and StrictMode's double mount neither closes nor opens one. Needs React 18 or newer.
 */

import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { openAlerts } from "./alerts.js";
import { Handle } from "./feed.js";
import { AGENT, CAMPAIGN, COUNCIL, JOB, RENDER, agent, alerts, campaign, council, job, metrics, render } from "./folds.js";
import { Board } from "./index.js";
import { Channels } from "./channels.js";
import { escapeToken } from "./tokens.js";

const Boards = createContext(null);
let settings = {};
let shared = null;

/** Where hooks without a provider read: `{ url, token, … }`, as `connect` has them. Before the first render. */
export function configure(options) {
  shared?.close();
  shared = null;
  settings = options;
}

/** Lets the hooks below it read at `url`, with `token`; or by a `board` of your own. */
export function CallboardProvider({ url, token, board, options, children }) {
  const latest = useRef(token);
  latest.current = token;
  // A function: a new token opens nothing anew.
  const made = useMemo(() => board ?? new Board(url, { ...options, token: token === undefined ? null : () => resolve(latest.current) }), [board, url, options]);
  return createElement(Boards.Provider, { value: made }, children);
}

const resolve = (token) => (typeof token === "function" ? token() : token);

/** The board that hooks read by: to publish, to give commands, to subscribe by hand. */
export function useBoard() {
  const provided = useContext(Boards);
  if (provided) return provided;
  shared ??= new Board(settings.url, settings);
  return shared;
}

const NOTHING = { key: "", initial: null };
const still = () => () => {};

/** The value of a recipe `{ key, initial, open, fold }`; of `null`, what it would begin with. */
function useFeed(recipe, initial) {
  const board = useBoard();
  const key = recipe?.key ?? "";
  // The key says all that is in the recipe.
  const handle = useMemo(() => new Handle(board, key, recipe ?? { ...NOTHING, initial }), [board, key]);
  return [useSyncExternalStore(recipe ? handle.subscribe : still, handle.getSnapshot, handle.getSnapshot), handle];
}

const reading = (what, id, { fold, initial, ...read }) => ({ key: `${what} ${id}`, fold, initial, open: (board) => board.subscribe(read) });

/** Reads events as they are: `useEvents({ subjects: ["agent.>"], last: 20 })` gives the newest `keep` of them, oldest first. */
export function useEvents({ keep = 100, ...read } = {}) {
  const fold = (before, event) => [...before.slice(1 - keep), event];
  const [shot] = useFeed({ key: `events ${keep} ${JSON.stringify(read)}`, fold, initial: [], open: (board) => board.subscribe(read) }, []);
  return { events: shot.value, isConnected: shot.isConnected, error: shot.error };
}

/** How far the rendering of a video is; begins by itself as soon as there is a `jobId`. */
export function useRenderProgressStream(jobId) {
  const [stopped, setStopped] = useState(null);
  const on = jobId && stopped !== jobId;
  const subjects = [`job.${escapeToken(jobId ?? "")}.>`];
  const [{ value, isConnected, error }] = useFeed(on ? reading("render", jobId, { subjects, cursor: "snapshot", fold: render, initial: RENDER }) : null, RENDER);
  return { ...value, isConnected, error, disconnect: useCallback(() => setStopped(jobId), [jobId]), connect: useCallback(() => setStopped(null), []) };
}

/** The newest `job_progress` of a job, and its status. */
export function useJobProgress(jobId) {
  const subjects = ["job", "agent"].map((domain) => `${domain}.${escapeToken(jobId ?? "")}.>`);
  const [{ value, isConnected, error }] = useFeed(jobId ? reading("job", jobId, { subjects, cursor: "snapshot", fold: job, initial: JOB }) : null, JOB);
  return { progress: value.progress, status: value.status, isConnected, error };
}

/** The figures of a campaign and how they changed, from `startStreaming()` on. */
export function useCampaignMetricsStream(campaignId) {
  const [on, setOn] = useState(false);
  const read = { subjects: [`metric.${escapeToken(campaignId ?? "")}.campaign_metrics`], cursor: "snapshot", fold: campaign, initial: CAMPAIGN };
  const [{ value, isConnected, error }] = useFeed(on && campaignId ? reading("campaign", campaignId, read) : null, CAMPAIGN);
  return { ...value, isConnected, error, startStreaming: useCallback(() => setOn(true), []), stopStreaming: useCallback(() => setOn(false), []) };
}

/** The live metrics of an entity: `{ clicks: { value, delta, deltaPercent, timestamp } }`. */
export function useLiveMetrics(entityId, _entityType = "campaign") {
  const read = { subjects: [`metric.${escapeToken(entityId ?? "")}.>`], types: ["live_metric_update", "metric"], last: 100, fold: metrics, initial: {} };
  const [{ value, isConnected, error }] = useFeed(entityId ? reading("metrics", entityId, read) : null, {});
  return { metrics: value, isConnected, error };
}

/**
 * The open alerts of a user and those without an audience (of everybody where no user is named), newest first. `dismissAlert` tells
 * the server as well.
 */
export function useRealtimeAlerts(userId) {
  const open = (board) => openAlerts(board, userId);
  const [{ value, isConnected, error }, handle] = useFeed({ key: `alerts ${userId ?? ""}`, fold: alerts, initial: [], open }, []);
  const [refusal, setRefusal] = useState(null);
  const dismissAlert = useCallback(async (alertId) => {
    const before = handle.getSnapshot().value;
    handle.put(before.filter((alert) => alert.alertId !== alertId));
    try {
      await handle.board.post(`/alerts/${encodeURIComponent(alertId)}/dismiss`);
      setRefusal(null);
    } catch (fault) {
      // 404: told by a producer, and no record of the server.
      if (fault.status === 404) return;
      handle.put(before);
      setRefusal(fault);
    }
  }, [handle]);
  return { alerts: value, isConnected, error: error ?? refusal, clearAlerts: useCallback(() => handle.put([]), [handle]), dismissAlert };
}

/**
 * What an agent says: `startStreaming(runId)` follows a run from its last start on, also one that is over; `stopStreaming()` asks
 * it to stop. `callbacks` may have `onMessage(event)`, `onStatusChange(status)`, `onError(text)`, `onClose(status)`.
 */
export function useAgentStream(callbacks = {}, threadId = null) {
  const [run, setRun] = useState(null);
  const on = run ?? threadId;
  const subjects = ["agent", "thread"].map((domain) => `${domain}.${escapeToken(on ?? "")}.>`);
  const [{ value, isConnected, error }, handle] = useFeed(on ? reading("agent", on, { subjects, cursor: "earliest", fold: agent, initial: AGENT }) : null, AGENT);
  const told = useRef(callbacks);
  told.current = callbacks;
  useEffect(() => {
    if (value.status === "idle") return;
    told.current.onStatusChange?.(value.status);
    if (["completed", "failed", "stopped"].includes(value.status)) told.current.onClose?.(value.status);
  }, [value.status]);
  useEffect(() => {
    if (value.error) told.current.onError?.(value.error);
  }, [value.error]);
  useEffect(() => {
    if (!on || !told.current.onMessage) return undefined;
    const heard = handle.board.subscribe({ subjects, cursor: "earliest" }, (event) => told.current.onMessage?.(event));
    return () => heard.close();
  }, [handle, on]);
  const startStreaming = useCallback(async (runId) => setRun(runId), []);
  const stopStreaming = useCallback(async () => {
    const { domain } = handle.getSnapshot().value;
    if (on) await handle.board.post(`/runs/${encodeURIComponent(on)}/stop`, { reason: "asked on the page", ...(domain ? { domain } : {}) });
  }, [handle, on]);
  const { status, textContent, reasoning, toolCall } = value;
  return { status: on && status === "idle" ? "connecting" : status, textContent, reasoning, toolCall, error: value.error ?? error?.message ?? null, agentRunId: on, isConnected, startStreaming, stopStreaming };
}

/** Any stream of server-sent events: `data` is the newest piece. Callbacks are the newest ones; they may be written inline. */
export function useSSE(url, { onMessage, onError, onOpen, onClose, autoConnect = true } = {}) {
  const [wish, setWish] = useState({ on: autoConnect, turn: 0 });
  const fold = (before, { event_type: name, data }) => ({ pieces: before.pieces + 1, name, data });
  const initial = { pieces: 0, name: "", data: null };
  const [shot, handle] = useFeed(url && wish.on ? { key: `sse ${wish.turn} ${url}`, fold, initial, open: (board) => board.source(url) } : null, initial);
  const told = useRef({});
  told.current = { onMessage, onError, onOpen, onClose };
  useEffect(() => {
    if (!url || !wish.on) return undefined;
    let state = "";
    const heard = handle.board.source(url, ({ event_type: name, data }) => {
      if (name === "error") told.current.onError?.(new Error(data?.error ?? data?.message ?? "the stream failed"));
      else if (!["ready", "open", "bye", "close"].includes(name)) told.current.onMessage?.(data);
    });
    const states = heard.onState(({ phase, reason }) => {
      if (phase === state) return;
      if (phase === "live") told.current.onOpen?.();
      else if (phase === "refused") told.current.onError?.(new Error(reason));
      else if (state === "live") told.current.onClose?.();
      state = phase;
    });
    return () => (states(), heard.close());
  }, [handle, url, wish]);
  const failed = shot.value.name === "error" ? new Error(shot.value.data?.error ?? "the stream failed") : shot.error;
  return {
    data: shot.value.data,
    error: failed,
    isConnected: shot.isConnected,
    isLoading: Boolean(url) && wish.on && shot.isLoading,
    connect: useCallback(() => setWish((was) => (was.on ? was : { ...was, on: true })), []),
    disconnect: useCallback(() => setWish((was) => ({ ...was, on: false })), []),
    reconnect: useCallback(() => setWish(({ turn }) => ({ on: true, turn: turn + 1 })), []),
  };
}

/** The scores of the AI council, from `startStreaming()` on. */
export function useCouncilScoreStream(videoUrl, transcript, features) {
  const [turn, setTurn] = useState(0);
  const asked = new URLSearchParams({ videoUrl: videoUrl ?? "", transcript: transcript ?? "", features: JSON.stringify(features ?? {}) });
  const url = `/api/stream/council-score?${asked}`;
  const on = turn > 0 && videoUrl && transcript;
  const [{ value, isConnected, isLoading, error }] = useFeed(on ? { key: `council ${turn} ${url}`, fold: council, initial: COUNCIL, open: (board) => board.source(url) } : null, COUNCIL);
  const before = useRef(0);
  return {
    ...value,
    isConnected,
    isLoading: Boolean(on) && isLoading,
    error,
    startStreaming: useCallback(() => setTurn((was) => was || (before.current += 1)), []),
    stopStreaming: useCallback(() => setTurn(0), []),
  };
}

/** A WebSocket of the real-time guide's channels: `subscribe(channel, id)`; what is subscribed outlives a reconnection. */
export function useWebSocket(url, { onMessage, onError, onOpen, onClose, autoConnect = true } = {}) {
  const [on, setOn] = useState(autoConnect);
  const told = useRef({});
  told.current = { onMessage, onError, onOpen, onClose };
  const channels = useMemo(() => (url ? Channels.of(url) : null), [url]);
  const state = useSyncExternalStore(channels && on ? channels.watch : still, channels ? channels.getSnapshot : () => Channels.NONE, () => Channels.NONE);
  useEffect(() => {
    if (!channels || !on) return undefined;
    return channels.listen({
      message: (data) => told.current.onMessage?.(data),
      open: () => told.current.onOpen?.(),
      close: () => told.current.onClose?.(),
      error: (fault) => told.current.onError?.(fault),
    });
  }, [channels, on]);
  return {
    isConnected: on && state.isConnected,
    error: state.error,
    send: useCallback((data) => channels?.send(data), [channels]),
    subscribe: useCallback((channel, id) => channels?.subscribe(channel, id), [channels]),
    unsubscribe: useCallback((channel, id) => channels?.unsubscribe(channel, id), [channels]),
    connect: useCallback(() => setOn(true), []),
    disconnect: useCallback(() => setOn(false), []),
  };
}
