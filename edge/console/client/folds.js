/** Folds events into what the documents' hooks show. Pure: a value and an event give the next value. */

const first = (...values) => values.find((value) => value !== undefined && value !== null);

/** A job's status in the guide's words. */
const statusOf = (status) => ({ running: "processing", stopping: "processing" })[status] ?? status;

export const RENDER = Object.freeze({ progress: 0, currentFrame: 0, totalFrames: 0, stage: "", fps: 0, estimatedTime: 0, status: "" });

export function render(before, { event_type: type, data = {} }) {
  const over = { completion: data.success === false ? "failed" : "completed", done: "completed", complete: "completed" }[type];
  if (type === "workflow_start") return data.resumed ? before : RENDER;
  if (!over && !["video_render_progress", "job_progress", "progress", "state"].includes(type)) return before;
  const steps = data.steps ?? {};
  return {
    progress: over === "completed" ? 1 : first(data.progress, before.progress),
    currentFrame: first(data.currentFrame, steps.current, data.current, before.currentFrame),
    totalFrames: first(data.totalFrames, steps.total, data.total, data.total_steps, before.totalFrames),
    stage: first(data.stage, over && "complete", data.message, before.stage),
    fps: first(data.fps, data.rate, before.fps),
    estimatedTime: over ? 0 : first(data.estimatedTimeRemaining, data.eta_seconds, before.estimatedTime),
    status: first(over, statusOf(data.status), before.status),
  };
}

export const JOB = Object.freeze({ progress: null, status: "" });

/** The newest word of a job, in the guide's shape. */
export function job(before, event) {
  const { event_type: type, data = {}, timestamp, id, subject } = event;
  if (type === "workflow_start" && !data.resumed) return JOB;
  const was = before.drawn ?? RENDER;
  const drawn = render(was, event);
  if (drawn === was) return before;
  const jobId = first(data.jobId, data.run, subject?.split(".")[1]);
  const { status, stage, progress } = drawn;
  return {
    drawn,
    status,
    progress: { type: "job_progress", jobId, status, stage, progress, message: data.message ?? "", metadata: data.metadata ?? { eta: drawn.estimatedTime }, timestamp, id },
  };
}

export const CAMPAIGN = Object.freeze({ metrics: null, change: Object.freeze({}) });

export const campaign = (before, { event_type: type, data = {} }) =>
  type === "campaign_metrics" ? { metrics: data.metrics, change: data.change ?? {} } : before;

export function metrics(before, { event_type: type, data = {}, timestamp }) {
  const name = type === "live_metric_update" ? data.metric : type === "metric" ? first(data.metric, data.name) : null;
  if (!name) return before;
  return { ...before, [name]: { value: data.value, delta: data.delta ?? 0, deltaPercent: data.deltaPercent ?? 0, timestamp } };
}

// What a page keeps of alerts.
const ALERTS = 50;
const QUIET = new Set(["resolved", "dismissed"]);

/** Newest first, each once; one that is over goes. */
export function alerts(before, { event_type: type, data = {}, timestamp, id }) {
  const alertId = first(data.alertId, data.alert, data.id, id);
  const others = before.filter((each) => each.alertId !== alertId);
  const state = type === "alert" ? first(data.status, "firing") : type;
  if (QUIET.has(state)) return others.length === before.length ? before : others;
  const alert = {
    type: "alert",
    alertId,
    severity: data.severity ?? "info",
    category: data.category ?? "",
    title: data.title ?? "",
    message: data.message ?? "",
    entityId: first(data.entityId, data.entity, null),
    entityType: data.entityType ?? null,
    actionRequired: data.actionRequired ?? Boolean(data.actions?.length),
    actions: data.actions ?? [],
    status: state,
    timestamp: first(data.timestamp, timestamp),
    id,
  };
  // One of the server's list may be older than what the stream has told.
  const newer = (each) => Date.parse(each.timestamp) > Date.parse(alert.timestamp);
  return [...others.filter(newer), alert, ...others.filter((each) => !newer(each))].slice(0, ALERTS);
}

export const COUNCIL = Object.freeze({ stages: Object.freeze({}), currentStage: "", finalScore: null });

/** A piece of the council's stream: `thinking` of one model grows, its score comes, and in the end that of all. */
export function council(before, { event_type: name, data }) {
  if (!data || name === "error" || (data.type && data.type !== "council_score_stream" && name === "message")) return before;
  const { stage = before.currentStage, model, thinking, score, reasoning, isComplete, finalScore } = data;
  if (!model) return { ...before, currentStage: stage, finalScore: finalScore ?? before.finalScore };
  const was = before.stages[model];
  const said = { thinking: thinking || was?.thinking || "", score: first(score, was?.score), reasoning: first(reasoning, was?.reasoning), isComplete: isComplete ?? false };
  return { ...before, currentStage: stage, stages: { ...before.stages, [model]: said } };
}

export const AGENT = Object.freeze({ status: "idle", textContent: "", reasoning: "", toolCall: null, error: null, domain: null });

const ENDS = { completion: true, done: true, complete: true, workflow_complete: true };

/** What an agent says in the last life of a run. */
export function agent(before, { event_type: type, data = {}, id, subject }) {
  const domain = subject?.split(".")[0] ?? before.domain;
  if (type === "workflow_start") return data.resumed ? { ...before, status: "running" } : { ...AGENT, status: "running", domain };
  const on = before.status === "idle" ? { ...before, status: "running", domain } : before;
  if (["streaming_chunk", "token", "delta", "ai_stream_chunk"].includes(type)) {
    const text = first(data.content, data.chunk, data.token, data.text, data.delta);
    return typeof text === "string" ? { ...on, textContent: on.textContent + text } : on;
  }
  if (type === "thinking") return { ...on, reasoning: on.reasoning + first(data.thought, data.content, "") };
  if (type === "tool_use") return { ...on, toolCall: { id, name: data.tool_name, parameters: data.parameters ?? {} } };
  if (type === "tool_result") return { ...on, toolCall: null };
  if (type === "stopping") return { ...on, status: "stopping" };
  if (type === "error") return { ...on, error: String(first(data.error, data.message, data.content, "failed")) };
  if (ENDS[type]) {
    const failed = data.success === false || data.status === "failed";
    const stopped = data.status === "cancelled" || data.status === "stopped";
    const status = stopped ? "stopped" : failed ? "failed" : "completed";
    return { ...on, status, toolCall: null, error: failed && !stopped ? String(first(data.error, on.error, "failed")) : on.error };
  }
  return on;
}
