// Publishes as the real-time guide does, with our producer in the place of its own: node realtime.mjs <job> <campaign> <user>
import { getChannelManager } from './realtime.mjs';
import { createAlertEvent } from './realtime.mjs';

const [, , jobId, campaignId, userId] = process.argv;

// Example: Publishing job progress
const channelManager = getChannelManager();

await channelManager.publish(
  { type: 'job_progress', id: jobId },
  {
    type: 'job_progress',
    jobId,
    status: 'processing',
    stage: 'rendering',
    progress: 0.5,
    message: 'Rendering frame 500/1000',
    timestamp: new Date().toISOString()
  }
);

// Publish progress updates
const progress = { frame: 500, total: 1000, percent: 0.5, stage: 'rendering' };
await channelManager.publish(
  { type: 'video_render', id: jobId },
  {
    type: 'video_render_progress',
    jobId,
    currentFrame: progress.frame,
    totalFrames: progress.total,
    progress: progress.percent,
    fps: 30,
    stage: progress.stage,
    timestamp: new Date().toISOString()
  }
);

// When alert condition detected
const alert = createAlertEvent(
  'warning',
  'performance',
  'High CPC Detected',
  'Campaign CPC exceeded $5.00 threshold',
  {
    actionRequired: true,
    entityId: campaignId,
    entityType: 'campaign'
  }
);

await channelManager.publish(
  { type: 'alerts', userId: userId },
  alert
);

const metricEvent = { type: 'live_metric_update', entityId: campaignId, metric: 'ctr', value: 0.05, delta: 0.01, deltaPercent: 25 };
const stored = await channelManager.publish({ type: 'live_metrics', id: campaignId }, metricEvent);
const refused = await channelManager.publish({ type: 'weather', id: 'x' }, {}).catch(({ status, code }) => ({ status, code }));
console.log(JSON.stringify({ stored, refused, alert }));
