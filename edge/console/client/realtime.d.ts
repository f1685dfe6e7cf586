import type { BoardOptions, Secret } from "./index.js";

export interface ChannelName {
  type: "job_progress" | "video_render" | "ai_stream" | "alerts" | "campaign_metrics" | "ab_test_results" | "live_metrics";
  id?: string;
  userId?: string;
}

export class ChannelManager {
  constructor(options?: BoardOptions & { url?: string; token?: Secret });
  publish(channel: ChannelName, event: Record<string, any>): Promise<{ id: string; cursor: string }>;
  close(): void;
}

export function getChannelManager(options?: BoardOptions & { url?: string; token?: Secret }): ChannelManager;

export interface NewAlert {
  type: "alert";
  alertId: string;
  severity: string;
  category: string;
  title: string;
  message: string;
  actionRequired: boolean;
  timestamp: string;
  [field: string]: any;
}

export function createAlertEvent(
  severity: "info" | "warning" | "critical" | (string & {}),
  category: string,
  title: string,
  message: string,
  more?: { actionRequired?: boolean; entityId?: string; entityType?: string; actions?: any[]; [field: string]: any },
): NewAlert;
