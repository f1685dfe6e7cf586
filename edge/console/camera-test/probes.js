/**
 * Ways to get a camera's pictures, each of which can be tried: a probe is `{name, label, run(link)}`.
 *
 * `run` resolves when `link.signal` aborts or the pictures end, and throws where they cannot be had; the error's message says why.
 * `link` has `url` and `camera`, `stage` (where it shows), `ticket(wish)`, `now()`, and is told of each picture by `link.picture(bytes, age)`.
 */

import { CameraPlayer, TRANSPORTS } from "../client/player.js";

const SECOND = 1_000;

/** Waits until the signal aborts, or `begin(resolve, reject)` settles it. */
function until(signal, begin) {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    begin(resolve, reject);
  });
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** Why the server refuses an address, in its own words: what a WebSocket, an image or a video does not say. */
async function refusal(response) {
  const said = await response.json().catch(() => null);
  return new Error(said?.detail || said?.title || `the server answers ${response.status}`);
}

/** The same of a WebSocket that was not opened. The address is asked as a page, which is refused for the same reason but one. */
async function socketRefusal(link, path) {
  const response = await fetch(`${link.base}${path}`, { signal: link.signal }).catch(() => null);
  if (!response) return new Error("the server cannot be reached");
  if ([404, 405, 426].includes(response.status)) return new Error("the server opens no WebSocket at this address");
  return refusal(response);
}

/** One of the player's transports. */
function played(name) {
  const { label } = TRANSPORTS[name];
  return {
    name, label,
    async run(link) {
      const why = await TRANSPORTS[name].unsupported();
      if (why) throw new Error(why);
      const canvas = link.stage(document.createElement("canvas"));
      let told = "";
      let seen = { received: 0, bytes: 0 };
      await until(link.signal, (_, reject) => {
        const player = new CameraPlayer(canvas, link.url, {
          prefer: name,
          now: link.now,
          ticket: (transport) => link.ticket({ camera: link.camera, transport }),
          onFrame: (header) => {
            const { received, bytes } = player.tally.totals;
            const age = Number.isFinite(header.time) ? link.now() - header.time : null;
            link.picture(bytes - seen.bytes, age, header);
            seen = { received, bytes };
          },
          onState: ({ phase, reason, passed }) => {
            const said = passed.find((each) => each.name === name)?.reason || reason;
            if (`${phase} ${said}` !== told) link.log(`${label}: ${phase}${said ? `, ${said}` : ""}`);
            told = `${phase} ${said}`;
            if (said) link.reason = said;
            if (phase === "refused") reject(new Error(said || "refused"));
          },
        });
        link.signal.addEventListener("abort", () => player.close(), { once: true });
        player.start();
      });
    },
  };
}

const still = {
  name: "still",
  label: "Still (JPEG)",
  async run(link) {
    const image = link.stage(Object.assign(new Image(), { alt: "The camera's picture by this transport" }));
    // Servers before stills have snapshots.
    let path = "still.jpg";
    while (!link.signal.aborted) {
      const ticket = await link.ticket({ camera: link.camera });
      const response = await fetch(`${link.url}/${path}${query({ ticket })}`, { cache: "no-store", signal: link.signal });
      if (response.status === 404 && path === "still.jpg") {
        path = "snapshot";
        continue;
      }
      if (!response.ok) throw await refusal(response);
      const said = response.headers.get("X-Capture-Time") ?? "";
      const taken = /^[\d.]+$/.test(said) ? Number(said) : Date.parse(said);
      const body = await response.blob();
      await shown(image, body);
      link.picture(body.size, Number.isFinite(taken) ? link.now() - taken : null, { width: image.naturalWidth, height: image.naturalHeight });
      await new Promise((resolve) => setTimeout(resolve, SECOND));
    }
  },
};

/** Shows a picture's file in an element; throws where it is none. */
async function shown(image, blob) {
  const address = URL.createObjectURL(blob);
  try {
    image.src = address;
    await image.decode();
  } catch {
    throw new Error("what the server sends is not a picture that this browser shows");
  } finally {
    URL.revokeObjectURL(address);
  }
}

const film = {
  name: "mp4",
  label: "MP4 file without an end (<video src>)",
  async run(link) {
    const video = document.createElement("video");
    if (!video.requestVideoFrameCallback) throw new Error("this browser does not tell which picture of a video it shows");
    const ticket = await link.ticket({ camera: link.camera, transport: "mp4" });
    video.muted = video.playsInline = true;
    link.stage(video);
    try {
      await until(link.signal, (_, reject) => {
        const next = () => !link.signal.aborted && video.requestVideoFrameCallback((_now, { width, height }) => {
          link.picture(0, null, { width, height });
          next();
        });
        video.addEventListener("error", async () => {
          const response = await fetch(`${link.url}/stream.mp4`, { signal: AbortSignal.timeout(5 * SECOND) }).catch(() => null);
          reject(response && !response.ok ? await refusal(response) : new Error(video.error?.message || "the video cannot be played"));
        });
        next();
        video.src = `${link.url}/stream.mp4${query({ ticket })}`;
        video.play().catch(() => {});
      });
    } finally {
      video.removeAttribute("src");
      video.load();
    }
  },
};

const page = {
  name: "document",
  label: "/ws/camera/stream (base64 in JSON)",
  async run(link) {
    const path = "/ws/camera/stream";
    const ticket = await link.ticket({ path });
    const image = link.stage(Object.assign(new Image(), { alt: "The camera's picture by this transport" }));
    const address = `${link.base}${path}${query({ camera: link.camera, ticket })}`;
    const socket = new WebSocket(address.replace(/^http/, "ws"));
    try {
      await until(link.signal, (_, reject) => {
        let opened = false;
        let latest = null;
        let busy = false;
        const show = async () => {
          busy = true;
          while (latest) {
            const [said, size] = latest;
            latest = null;
            image.src = `data:image/jpeg;base64,${said.data}`;
            await image.decode().catch(() => reject(new Error("what the server sends is not a JPEG")));
            link.picture(size, Number.isFinite(said.timestamp) ? link.now() - said.timestamp : null, said);
          }
          busy = false;
        };
        socket.onopen = () => { opened = true; };
        socket.onmessage = ({ data }) => {
          const said = JSON.parse(data);
          if (said.type === "connected") link.log(`connected: ${said.message}, ${said.resolution.width} × ${said.resolution.height}`);
          if (said.type === "error" || said.type === "status") link.log(`${said.type}: ${said.message}`);
          if (said.type === "error") link.reason = said.message;
          if (said.type !== "frame") return;
          latest = [said, data.length];
          if (!busy) show();
        };
        socket.onclose = async ({ code, reason }) => {
          if (link.signal.aborted) return;
          reject(opened ? new Error(`the server closed: ${code} ${reason}`) : await socketRefusal(link, path));
        };
      });
    } finally {
      socket.close();
    }
  },
};

export const PROBES = [page, played("jpeg"), played("webcodecs"), played("mse"), played("whep"), played("mjpeg"), film, still];
