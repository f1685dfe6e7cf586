/** Plays WebRTC by WHEP, where the server has it: for viewers behind networks that lose packets. */

import { Refusal, query } from "../http.js";
import { Fault, until } from "./fault.js";

// How long (ms) addresses may be gathered, and a connection may take.
const GATHERING = 1_500;
const CONNECTING = 6_000;
// How often (ms) the bytes that WebRTC received are read.
const COUNTING = 1_000;
// How long (ms) the server may take to end a session, before the connection is closed all the same.
const ENDING = 2_000;

async function gathered(peer) {
  if (peer.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    setTimeout(resolve, GATHERING);
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
  });
}

/** Offers, and returns the address of the session; null where the server names none. */
async function negotiate(link, peer, signal) {
  const ticket = await link.ticket("whep");
  await peer.setLocalDescription(await peer.createOffer());
  await gathered(peer);
  let response;
  try {
    response = await fetch(`${link.url}/whep${query({ height: link.wish.height, ticket })}`, {
      method: "POST", headers: { "Content-Type": "application/sdp" }, body: peer.localDescription.sdp, signal,
    });
  } catch {
    throw new Fault("unreachable", "the server cannot be reached");
  }
  if (response.status === 404 || response.status === 501) throw new Fault("unsupported", (await Refusal.of(response)).message);
  if (!response.ok) throw await Refusal.of(response);
  const session = response.headers.get("Location");
  await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
  return session && new URL(session, link.url).href;
}

export const whep = {
  name: "whep",
  label: "WebRTC by WHEP",
  medium: "webrtc",
  codec: "h264",

  async unsupported() {
    if (!globalThis.RTCPeerConnection) return "this browser has no WebRTC";
    return HTMLVideoElement.prototype.requestVideoFrameCallback ? null : "this browser does not tell which picture of a video it shows";
  },

  async play(link, signal) {
    const peer = new RTCPeerConnection();
    const video = document.createElement("video");
    video.muted = video.playsInline = true;
    let session = null;
    let timer = null;
    let bytes = 0;
    const life = new AbortController();
    const watch = () => !life.signal.aborted && video.requestVideoFrameCallback((_, { width, height }) => {
      link.heard();
      link.received(0, { rung: "h264" });
      link.offer({ header: { format: "webrtc", rung: "h264", width, height }, image: video, passing: true });
      watch();
    });
    const counting = setInterval(async () => {
      for (const report of (await peer.getStats()).values()) {
        if (report.type !== "inbound-rtp" || !Number.isFinite(report.bytesReceived)) continue;
        link.weighed(report.bytesReceived - bytes);
        bytes = report.bytesReceived;
      }
    }, COUNTING);
    try {
      const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      peer.ontrack = ({ track }) => {
        video.srcObject = new MediaStream([track]);
        video.play().catch(() => {});
        watch();
      };
      session = await negotiate(link, peer, signal);
      await until(signal, (_, reject) => {
        timer = setTimeout(() => peer.connectionState !== "connected" && reject(new Fault("unreachable", "no WebRTC connection came about")), CONNECTING);
        peer.onconnectionstatechange = () => {
          if (peer.connectionState === "connected") link.opened();
          if (["failed", "disconnected", "closed"].includes(peer.connectionState)) reject(new Fault("lost", "the WebRTC connection was lost"));
        };
      }, () => clearTimeout(timer));
    } catch (fault) {
      if (!signal.aborted) throw fault;
    } finally {
      life.abort();
      clearInterval(counting);
      video.srcObject = null;
      // The session first: the server forgets one whose peer has closed, and would not know it any more.
      const ended = session ? fetch(session, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(ENDING) }) : Promise.resolve();
      ended.catch(() => {}).finally(() => peer.close());
    }
  },
};
