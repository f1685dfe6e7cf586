"""Holds data of event types as the documents show them: for JSON Schemas, test events of sessions, and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "thinking": {"thought": "I need to analyze the data structure first..."},
    "tool_use": {"tool_name": "web_search", "parameters": {"query": "latest market trends", "limit": 10}},
    "tool_result": {"tool_name": "web_search", "result": {"hits": 3}, "success": True, "execution_time": 1.23},
    "progress": {
        "progress": 0.65,
        "message": "Processing data analysis...",
        "current_step": "feature_extraction",
        "total_steps": 5,
    },
    "completion": {"result": {"rows": 120}, "success": True, "total_time": 15.67, "tokens_used": 1250},
    "complete": {"result": {"rows": 120}, "success": True, "total_time": 15.67},
    "workflow_start": {"name": "data analysis", "message": "Four steps"},
    "workflow_step": {"step": "feature_extraction", "message": "Reading columns"},
    "workflow_complete": {"success": True, "result": {"steps": 4}, "total_time": 12.5},
    "model_selection": {"model": "openai/gpt-4o", "reason": "asked for"},
    "streaming_chunk": {"content": "The data show"},
    "error": {"error": "Connection timeout", "error_type": "network_error", "recoverable": True, "retry_count": 2},
    "token": {"threadId": "t-1", "content": "Hel", "ts": 1764171000000},
    "delta": {"threadId": "t-1", "content": "lo", "ts": 1764171000050},
    "status": {"threadId": "t-1", "content": "thinking", "ts": 1764171000000},
    "done": {"threadId": "t-1", "content": "Hello", "ts": 1764171001000},
    "output": {"line": "collected 12 items", "stream": "stdout"},
    "job_progress": {
        "jobId": "job-42",
        "status": "processing",
        "stage": "rendering",
        "progress": 0.5,
        "message": "Rendering frame 500/1000",
    },
    "video_render_progress": {
        "jobId": "job-42",
        "currentFrame": 500,
        "totalFrames": 1000,
        "progress": 0.5,
        "fps": 30,
        "estimatedTimeRemaining": 17,
        "stage": "rendering",
    },
    "ai_stream_chunk": {"model": "gemini", "chunk": "A strong hook", "isComplete": False},
    "council_score_stream": {"stage": "gemini", "model": "gemini", "thinking": "Analyzing...", "isComplete": False},
    "ai_evaluation_stream": {
        "evaluationType": "creative",
        "model": "gemini",
        "chunk": "The opening",
        "isComplete": False,
    },
    "campaign_metrics": {
        "campaignId": "c-7",
        "metrics": {"impressions": 12000, "clicks": 340, "ctr": 0.0283, "spend": 91.5, "conversions": 12, "roas": 3.1},
        "change": {"impressions": 150, "clicks": 4, "ctr": 0.0001, "spend": 1.2},
    },
    "ab_test_result": {
        "testId": "test-3",
        "variantId": "B",
        "metrics": {"impressions": 9000, "clicks": 310, "ctr": 0.0344, "conversions": 41, "confidence": 0.97},
        "isWinner": True,
        "statisticalSignificance": 0.97,
    },
    "live_metric_update": {
        "entityId": "c-7",
        "entityType": "campaign",
        "metric": "clicks",
        "value": 344,
        "delta": 4,
        "deltaPercent": 1.18,
    },
    "metric": {"name": "temperature", "value": 21.5, "unit": "celsius"},
    "alert": {
        "alertId": "alert-1",
        "severity": "warning",
        "category": "performance",
        "title": "High CPC Detected",
        "message": "Campaign CPC exceeded $5.00 threshold",
        "actionRequired": True,
        "entityId": "c-7",
        "entityType": "campaign",
        "actions": [{"label": "Pause", "action": "pause", "url": "/campaigns/c-7"}],
    },
}
