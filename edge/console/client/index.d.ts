/** An event as the edge sends it. `Data` by type: `callboard types typescript` writes the types of the catalogue. */
export interface CallboardEvent<Data = Record<string, unknown>, Type extends string = string> {
  id: string;
  event_type: Type;
  subject: string;
  source: string;
  timestamp: string;
  data: Data;
  cursor: string;
  key?: string;
  cause?: string;
  test?: boolean;
}

/** What is known of the data of each event type; extend it (`declare module`) with types of your own. */
export interface EventData {
  [type: string]: Record<string, any>;
}

export type Transport = "websocket" | "sse" | "polling";
export type Phase = "idle" | "connecting" | "live" | "waiting" | "offline" | "paused" | "refused" | "ended" | "closed";

export interface State {
  readonly phase: Phase;
  readonly transport: Transport | null;
  readonly session: string | null;
  /** When it is tried again, in ms since the epoch. */
  readonly retryAt: number | null;
  readonly reason: string;
  readonly code: string;
  /** The server's clock less this one, in ms. */
  readonly offset: number;
}

export interface Notice {
  control: string;
  cursor?: string;
  [field: string]: unknown;
}

export type Secret = string | null | (() => string | null | Promise<string | null>);

export interface BoardOptions {
  token?: Secret;
  ticket?: Secret;
  transport?: "auto" | Transport | Transport[];
  share?: "auto" | "worker" | "broadcast" | "none";
  silence?: number;
  backoff?: { base?: number; cap?: number };
  pauseHidden?: number;
  /** What its sessions are called where sessions are listed. */
  name?: string;
}

export interface Read {
  subjects?: string[];
  types?: string[];
  filter?: string;
  cursor?: string;
  since?: string;
  last?: number;
  persist?: string | { storage?: { getItem(key: string): string | null; setItem(key: string, value: string): unknown }; key: string };
  conflate?: boolean;
  max_rate?: number;
  include_intermediate_results?: boolean;
  dialect?: string;
}

export interface Publication {
  type?: string;
  key?: string;
  cause?: string;
  id?: string;
}

export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  /** In ms. */
  readonly retryAfter: number | null;
  /** The field of the body that is refused, or "". */
  readonly field: string;
}

export class Subscription<Types extends object = EventData> implements AsyncIterable<CallboardEvent> {
  readonly state: State;
  readonly cursor: string | null;
  readonly stats: { events: number; duplicates: number; gaps: number; connections: number };
  readonly clock: { offset: number; now(): number };
  readonly latency: number | null;
  on<Type extends keyof Types & string>(type: Type, listener: (event: CallboardEvent<Types[Type], Type>) => void): () => void;
  on(type: "*", listener: (event: CallboardEvent) => void): () => void;
  onState(listener: (state: State) => void): () => void;
  onNotice(listener: (notice: Notice) => void): () => void;
  start(): void;
  close(): void;
  retry(): void;
  [Symbol.asyncIterator](): AsyncIterator<CallboardEvent>;
}

interface Requests {
  readonly base: string;
  token: Secret;
  subscribe<Types extends object = EventData>(read?: Read, listener?: (event: CallboardEvent) => void): Subscription<Types>;
  get<Answer = any>(path: string): Promise<Answer>;
  post<Answer = any>(path: string, body?: unknown): Promise<Answer>;
  publish(subject: string, data?: Record<string, unknown>, more?: Publication): Promise<any>;
  store(event: Record<string, unknown>): Promise<any>;
  command<Answer = any>(actor: string, instance: string, name: string, body?: unknown, options?: { timeout?: number }): Promise<Answer>;
  ticket(wish: { session_id?: string; camera?: string; octane?: string; transport?: string }): Promise<string | null>;
  history(subjects: string[], last?: number): Promise<CallboardEvent[]>;
  frames(canvas: import("./frames.js").Canvas, path: string, options?: import("./frames.js").FrameOptions): Promise<import("./frames.js").FrameStream>;
}

/** The token that stands for an id in a subject, and back: an id may have any characters. */
export function escapeToken(id: string): string;
export function unescapeToken(token: string): string;

export class Board implements Requests {
  constructor(url?: string | URL, options?: BoardOptions);
  readonly base: string;
  token: Secret;
  /** The connection may be dead: finds out within seconds, and opens another one then. */
  check(): void;
  source(path: string, listener?: (piece: { event_type: string; data: any; id: string }) => void): Subscription;
  close(): void;
  subscribe: Requests["subscribe"];
  get: Requests["get"];
  post: Requests["post"];
  publish: Requests["publish"];
  store: Requests["store"];
  command: Requests["command"];
  ticket: Requests["ticket"];
  history: Requests["history"];
  frames: Requests["frames"];
}

export function connect<Types extends object = EventData>(url: string | URL, options?: BoardOptions & Read): Subscription<Types> & Requests & { readonly board: Board };
