import type { ReactElement, ReactNode } from "react";
import type { Board, BoardOptions, CallboardEvent, Read, Secret } from "./index.js";

interface Connected {
  isConnected: boolean;
  error: Error | null;
}

export function configure(options: BoardOptions & { url?: string }): void;
export function CallboardProvider(props: { url?: string; token?: Secret; board?: Board; options?: BoardOptions; children?: ReactNode }): ReactElement;
export function useBoard(): Board;
export function useEvents(read?: Read & { keep?: number }): Connected & { events: CallboardEvent[] };

export function useRenderProgressStream(jobId: string | null): Connected & {
  progress: number;
  currentFrame: number;
  totalFrames: number;
  stage: string;
  fps: number;
  /** In seconds. */
  estimatedTime: number;
  status: string;
  connect(): void;
  disconnect(): void;
};

export function useJobProgress(jobId: string | null): Connected & { progress: Record<string, any> | null; status: string };

export function useCampaignMetricsStream(campaignId: string | null): Connected & {
  metrics: Record<string, number> | null;
  change: Record<string, number>;
  startStreaming(): void;
  stopStreaming(): void;
};

export function useLiveMetrics(entityId: string | null, entityType?: string): Connected & {
  metrics: Record<string, { value: number; delta: number; deltaPercent: number; timestamp: string }>;
};

export interface AlertEvent {
  type: "alert";
  alertId: string;
  severity: string;
  category: string;
  title: string;
  message: string;
  entityId: string | null;
  entityType: string | null;
  actionRequired: boolean;
  actions: any[];
  status: string;
  timestamp: string;
  id: string;
}

export function useRealtimeAlerts(userId?: string): Connected & {
  alerts: AlertEvent[];
  clearAlerts(): void;
  dismissAlert(alertId: string): Promise<void>;
};

export interface AgentCallbacks {
  onMessage?(event: CallboardEvent): void;
  onStatusChange?(status: string): void;
  onError?(error: string): void;
  onClose?(status: string): void;
}

export function useAgentStream(callbacks?: AgentCallbacks, threadId?: string | null): {
  status: string;
  textContent: string;
  reasoning: string;
  toolCall: { id: string; name: string; parameters: Record<string, any> } | null;
  error: string | null;
  agentRunId: string | null;
  isConnected: boolean;
  startStreaming(runId: string): Promise<void>;
  stopStreaming(): Promise<void>;
};

export interface StreamOptions<T> {
  onMessage?(data: T): void;
  onError?(error: Error): void;
  onOpen?(): void;
  onClose?(): void;
  autoConnect?: boolean;
  /** Accepted as the guide has them; the client reconnects by itself, with jitter. */
  reconnect?: boolean;
  reconnectInterval?: number;
  maxReconnectAttempts?: number;
  heartbeatInterval?: number;
}

export function useSSE<T = any>(url: string | null, options?: StreamOptions<T>): Connected & {
  data: T | null;
  isLoading: boolean;
  connect(): void;
  disconnect(): void;
  reconnect(): void;
};

export function useCouncilScoreStream(videoUrl: string | null, transcript: string | null, features?: unknown): Connected & {
  stages: Record<string, { thinking: string; score?: number; reasoning?: string; isComplete: boolean }>;
  currentStage: string;
  finalScore: Record<string, any> | null;
  isLoading: boolean;
  startStreaming(): void;
  stopStreaming(): void;
};

export function useWebSocket<T = any>(url: string | null, options?: StreamOptions<T>): Connected & {
  send(data: unknown): void;
  subscribe(channel: string, id?: string): void;
  unsubscribe(channel: string, id?: string): void;
  connect(): void;
  disconnect(): void;
};
