// The components of the real-time guide, as they stand there; what it leaves to its reader is at the end.
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useRenderProgressStream } from '@/hooks/useSSE';
import { useCouncilScoreStream } from '@/hooks/useSSE';
import { useCampaignMetricsStream } from '@/hooks/useSSE';
import { useRealtimeAlerts } from '@/hooks/useWebSocket';
import { useJobProgress, useLiveMetrics } from '@/hooks/useWebSocket';
import { useSSE } from '@/hooks/useSSE';
import { useWebSocket } from '@/hooks/useWebSocket';
import { useAgentStream } from '@/hooks/useAgentStream';

function VideoGenerationPage() {
  const [jobId, setJobId] = useState<string | null>(null);

  const {
    progress,
    stage,
    currentFrame,
    totalFrames,
    estimatedTime
  } = useRenderProgressStream(jobId);

  const handleStartGeneration = async () => {
    const response = await fetch('/api/generate-video', {
      method: 'POST',
      body: JSON.stringify({ /* params */ })
    });
    const data = await response.json();
    setJobId(data.jobId); // Automatically starts streaming!
  };

  return (
    <div>
      <button onClick={handleStartGeneration}>Generate Video</button>

      {jobId && (
        <div>
          <h3>Generating Video...</h3>
          <div>Stage: {stage}</div>
          <div>Frame: {currentFrame} / {totalFrames}</div>
          <div>Progress: {(progress * 100).toFixed(1)}%</div>
          <div>ETA: {Math.round(estimatedTime)}s</div>

          <div className="progress-bar">
            <div style={{ width: `${progress * 100}%` }} />
          </div>
        </div>
      )}
    </div>
  );
}

function EvaluationPage() {
  const {
    stages,
    currentStage,
    finalScore,
    startStreaming
  } = useCouncilScoreStream(videoUrl, transcript);

  return (
    <div>
      <button onClick={startStreaming}>Evaluate</button>

      {Object.entries(stages).map(([model, data]) => (
        <div key={model}>
          <h4>{model}</h4>
          <p>{data.thinking}</p>
          {data.score && <p>Score: {data.score}</p>}
        </div>
      ))}

      {finalScore && (
        <div>Final Score: {finalScore.composite}</div>
      )}
    </div>
  );
}

function CampaignDashboard({ campaignId }) {
  const {
    metrics,
    change,
    startStreaming,
    stopStreaming
  } = useCampaignMetricsStream(campaignId);

  return (
    <div>
      <button onClick={startStreaming}>Start Live Updates</button>
      <button onClick={stopStreaming}>Stop</button>

      {metrics && (
        <div>
          <div>Impressions: {metrics.impressions} (+{change.impressions})</div>
          <div>Clicks: {metrics.clicks} (+{change.clicks})</div>
          <div>CTR: {(metrics.ctr * 100).toFixed(2)}%</div>
          <div>ROAS: {metrics.roas.toFixed(2)}x</div>
        </div>
      )}
    </div>
  );
}

function AlertsWidget({ userId }) {
  const { alerts, dismissAlert } = useRealtimeAlerts(userId);

  return (
    <div>
      {alerts.map(alert => (
        <div key={alert.alertId} className={`alert-${alert.severity}`}>
          <h4>{alert.title}</h4>
          <p>{alert.message}</p>
          <button onClick={() => dismissAlert(alert.alertId)}>
            Dismiss
          </button>
        </div>
      ))}
    </div>
  );
}

// The common patterns.

function Patterns({ jobId, campaignId }) {
  const { progress, status } = useJobProgress(jobId);
  const { metrics } = useLiveMetrics(campaignId, 'campaign');
  return <pre>{JSON.stringify({ status, progress: progress?.progress, ctr: metrics.ctr?.value })}</pre>;
}

// The hooks below them, at the guides' own addresses.

function Addresses({ jobId, userId, threadId }) {
  const [types, setTypes] = useState<string[]>([]);
  const { data } = useSSE(`/api/stream/render-progress/${jobId}`);
  const { isConnected, subscribe, unsubscribe } = useWebSocket(`/ws?userId=${userId}`, {
    onMessage: (message) => setTypes((before) => [...new Set([...before, message.type])]),
  });
  const { textContent, status } = useAgentStream({}, threadId);
  useEffect(() => {
    subscribe('video_render', jobId);
    return () => unsubscribe('video_render', jobId);
  }, [jobId]);
  return <pre>{JSON.stringify({ sse: data?.type, isConnected, types: types.join(), status, textContent })}</pre>;
}

const given = Object.fromEntries(new URLSearchParams(location.search));
const { videoUrl, transcript, campaignId, userId, jobId, threadId } = given;

createRoot(document.body).render(
  <>
    <section id="video"><VideoGenerationPage /></section>
    <section id="council"><EvaluationPage /></section>
    <section id="campaign"><CampaignDashboard campaignId={campaignId} /></section>
    <section id="alerts"><AlertsWidget userId={userId} /></section>
    <section id="addresses"><Addresses jobId={jobId} userId={userId} threadId={threadId} /></section>
    <section id="patterns"><Patterns jobId={jobId} campaignId={campaignId} /></section>
  </>
);
