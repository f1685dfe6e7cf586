"""The client samples of the OpenManus callback guide, word for word, and how they are run against an edge."""

from __future__ import annotations

WEBSOCKET = """
const ws = new WebSocket('ws://localhost:8000/callbacks/sessions/sess_abc123/ws');

ws.onopen = () => {
  console.log('Callback WebSocket connected');
};

ws.onmessage = (event) => {
  const callback = JSON.parse(event.data);
  handleCallbackEvent(callback);
};

function handleCallbackEvent(callback) {
  switch (callback.event_type) {
    case 'thinking':
      updateThinkingIndicator(callback.data.thought);
      break;
    case 'tool_use':
      showToolExecution(callback.data.tool_name, callback.data.parameters);
      break;
    case 'progress':
      updateProgressBar(callback.data.progress, callback.data.message);
      break;
    case 'completion':
      handleCompletion(callback.data.result);
      break;
  }
}
"""

EVENT_SOURCE = """
const eventSource = new EventSource('/callbacks/sessions/{session_id}/sse');
eventSource.onmessage = (event) => {
  const callback = JSON.parse(event.data);
  // Handle callback event
};
"""

POLLING = """
async function pollEvents() {
  const response = await fetch('/callbacks/sessions/{session_id}/events?since=' + lastTimestamp);
  const data = await response.json();
  data.events.forEach(handleCallbackEvent);
}

setInterval(pollEvents, 5000); // Poll every 5 seconds
"""

FLASK = """
from flask import Flask, request, jsonify

app = Flask(__name__)

@app.route('/callbacks', methods=['POST'])
def handle_callback():
    callback = request.json
    
    event_type = callback['event_type']
    data = callback['data']
    
    if event_type == 'thinking':
        print(f"AI is thinking: {data['thought']}")
    elif event_type == 'progress':
        print(f"Progress: {data['progress']*100:.1f}% - {data['message']}")
    elif event_type == 'completion':
        print(f"Task completed: {data['success']}")
    
    return jsonify({'status': 'received'})

if __name__ == '__main__':
    app.run(port=5000)
"""  # noqa: W293

REACT = """
import { useState, useEffect } from 'react';

function CallbackDisplay({ sessionId }) {
  const [events, setEvents] = useState([]);
  const [ws, setWs] = useState(null);

  useEffect(() => {
    const websocket = new WebSocket(`ws://localhost:8000/callbacks/sessions/${sessionId}/ws`);
    
    websocket.onmessage = (event) => {
      const callback = JSON.parse(event.data);
      setEvents(prev => [...prev, callback]);
    };
    
    setWs(websocket);
    
    return () => websocket.close();
  }, [sessionId]);

  return (
    <div className="callback-display">
      {events.map((event, index) => (
        <div key={index} className={`event event-${event.event_type}`}>
          <span className="event-type">{event.event_type}</span>
          <span className="event-time">{new Date(event.timestamp).toLocaleTimeString()}</span>
          <pre className="event-data">{JSON.stringify(event.data, null, 2)}</pre>
        </div>
      ))}
    </div>
  );
}
"""  # noqa: W293

EXPRESS = """
const express = require('express');
const WebSocket = require('ws');

const app = express();
app.use(express.json());

// Webhook endpoint
app.post('/callbacks', (req, res) => {
  const callback = req.body;
  console.log('Received callback:', callback.event_type);
  
  // Process callback based on event type
  switch (callback.event_type) {
    case 'thinking':
      handleThinking(callback.data);
      break;
    case 'progress':
      handleProgress(callback.data);
      break;
    case 'completion':
      handleCompletion(callback.data);
      break;
  }
  
  res.json({ status: 'received' });
});

// WebSocket client
function connectWebSocket(sessionId) {
  const ws = new WebSocket(`ws://localhost:8000/callbacks/sessions/${sessionId}/ws`);
  
  ws.on('message', (data) => {
    const callback = JSON.parse(data);
    console.log('WebSocket callback:', callback);
  });
  
  return ws;
}

app.listen(3000, () => {
  console.log('Callback server running on port 3000');
});
"""  # noqa: W293

WEBHOOK = """
{
  "delivery_method": "webhook",
  "webhook_url": "https://your-app.com/callbacks",
  "timeout": 30,
  "retry_attempts": 3,
  "headers": {
    "Authorization": "Bearer token",
    "Content-Type": "application/json"
  }
}
"""

TEST = """
curl -X POST "http://localhost:8000/callbacks/sessions/{session_id}/test" \\
  -H "Content-Type: application/json" \\
  -d '{
    "event_type": "progress",
    "test_data": {
      "message": "Test callback",
      "progress": 0.5
    }
  }'
"""

STATS = """
curl "http://localhost:8000/callbacks/sessions/{session_id}/stats"
"""

OVERALL_STATS = """
curl "http://localhost:8000/callbacks/stats"
"""

POLL = """
curl "http://localhost:8000/callbacks/sessions/{session_id}/events?limit=10"
"""

LOAD = """
import asyncio
import aiohttp
import time

async def test_callback_load():
    async with aiohttp.ClientSession() as session:
        # Create callback session
        async with session.post('http://localhost:8000/callbacks/sessions', json={
            'delivery_method': 'webhook',
            'webhook_url': 'http://localhost:5000/callbacks',
            'events': ['progress', 'completion']
        }) as resp:
            session_data = await resp.json()
            session_id = session_data['session_id']
        
        # Send multiple test events
        tasks = []
        for i in range(100):
            task = session.post(f'http://localhost:8000/callbacks/sessions/{session_id}/test', json={
                'event_type': 'progress',
                'test_data': {'progress': i/100, 'message': f'Test {i}'}
            })
            tasks.append(task)
        
        start_time = time.time()
        await asyncio.gather(*tasks)
        end_time = time.time()
        
        print(f"Sent 100 events in {end_time - start_time:.2f} seconds")

asyncio.run(test_callback_load())
"""  # noqa: W293


def met(sample: str, *, port: int, session: str = "", receiver: int = 0) -> str:
    """A sample with our ports in place of the guide's, and a session that exists; nothing else is changed."""
    sample = sample.replace("localhost:8000", f"localhost:{port}").replace("sess_abc123", session or "sess_abc123")
    sample = sample.replace("localhost:5000", f"localhost:{receiver}").replace("port=5000", f"port={receiver}")
    sample = sample.replace("https://your-app.com", f"http://localhost:{receiver}")
    # In Python the same braces are a format of its own.
    return sample if "f'http" in sample else sample.replace("{session_id}", session)
