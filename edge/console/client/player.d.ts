import type { Canvas } from "./frames.js";

export type PlayerTransport = "webcodecs" | "mse" | "jpeg" | "mjpeg" | "whep";

export interface PlayerWish {
  /** Height in pixels that will do; null for the source's. */
  height?: number | null;
  /** Pictures a second that will do; null for all. */
  fps?: number | null;
}

export interface PlayerState {
  readonly phase: "idle" | "connecting" | "playing" | "waiting" | "paused" | "offline" | "refused" | "closed";
  /** Why it does not play. */
  readonly reason: string;
  readonly code?: string;
  /** When the phase began, in ms since the epoch. */
  readonly since: number;
  readonly transport: PlayerTransport | null;
  readonly label: string;
  /** The rung that is received, such as `h264-480`. */
  readonly rung: string;
  /** Why the server changed it: asked, slow or recovered. */
  readonly why: string;
  readonly rungs: readonly string[];
  /** Better transports that are not used, and why. */
  readonly passed: readonly { name: PlayerTransport; label: string; reason: string }[];
  /** The camera's own status, as the server last told it. */
  readonly camera: { status: string; reason: string | null; since: string | number | null } | null;
}

export interface PlayerStats {
  /** Pictures painted a second. */
  fps: number;
  receivedFps: number;
  bytesPerSecond: number;
  /** From the capture clock to the paint, in ms, over the last ten seconds; null where it is not known. */
  latency: { p50: number | null; p99: number | null };
  received: number;
  painted: number;
  repeats: number;
  bytes: number;
  dropped: { late: number; superseded: number; decoder: number; broken: number };
}

export interface PlayerOptions extends PlayerWish {
  ticket?: ((transport: "websocket" | "mjpeg" | "whep") => string | null | Promise<string | null>) | null;
  prefer?: "auto" | PlayerTransport | PlayerTransport[];
  /** The server's time in ms. */
  now?: () => number;
  onState?: ((state: PlayerState) => void) | null;
  onStats?: ((stats: PlayerStats) => void) | null;
  onFrame?: ((header: Record<string, any>) => void) | null;
}

export const AUTOMATIC: readonly PlayerTransport[];

export class CameraPlayer {
  constructor(element: Canvas | { append(...nodes: any[]): void }, url: string, options?: PlayerOptions);
  readonly canvas: Canvas;
  readonly state: PlayerState;
  readonly stats: PlayerStats;
  readonly header: Record<string, any> | null;
  start(): void;
  close(): void;
  prefer(prefer: "auto" | PlayerTransport | PlayerTransport[]): void;
  ask(wish: PlayerWish): void;
}
