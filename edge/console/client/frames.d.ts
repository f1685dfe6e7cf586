/** A canvas of a page; programs for Node need no types of pages. */
export type Canvas = typeof globalThis extends { HTMLCanvasElement: { prototype: infer Element } } ? Element : never;

export interface FrameOptions {
  ticket?: (() => Promise<string | null>) | null;
  /** The server's time in ms. */
  now?: () => number;
  /** How long (ms) a healthy source may say nothing; 0 for any time. */
  silence?: number;
  onFrame?: ((header: Record<string, any>) => void) | null;
  onStats?: ((stats: FrameStats) => void) | null;
  onPhase?: ((phase: string) => void) | null;
}

export interface FrameStats {
  fps: number;
  receivedFps: number;
  latency: number | null;
  bytesPerSecond: number;
  dropped: number;
  frames: number;
}

export function unpack(buffer: ArrayBuffer): { header: Record<string, any>; picture: Uint8Array };

export class FrameStream {
  constructor(canvas: Canvas, url: string, options?: FrameOptions);
  readonly stats: FrameStats;
  readonly phase: string;
  start(): void;
  close(): void;
}
