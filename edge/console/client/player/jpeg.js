/** Plays JPEG pictures from a WebSocket. */

import { receivePictures } from "./socket.js";

export const jpeg = {
  name: "jpeg",
  label: "JPEG over WebSocket",
  medium: "websocket",
  codec: "jpeg",

  async unsupported() {
    return globalThis.WebSocket && globalThis.createImageBitmap ? null : "this browser has no WebSocket";
  },

  async play(link, signal) {
    let waiting = null;
    let decoding = false;
    // One picture is decoded at a time; those that come meanwhile replace one another.
    const decode = async () => {
      decoding = true;
      while (waiting && !signal.aborted) {
        const { header, body, acknowledge } = waiting;
        waiting = null;
        try {
          const image = await createImageBitmap(new Blob([body], { type: `image/${header.format ?? "jpeg"}` }));
          if (signal.aborted) image.close();
          else link.offer({ header, image, free: () => image.close() }, acknowledge);
        } catch {
          // One picture that cannot be read is no reason to stop looking.
          link.dropped("broken");
          acknowledge(header);
        }
      }
      decoding = false;
    };
    await receivePictures(link, "jpeg", signal, (header, body, acknowledge) => {
      if (waiting) {
        link.dropped("superseded");
        waiting.acknowledge(waiting.header);
      }
      waiting = { header, body, acknowledge };
      if (!decoding) decode();
    });
  },
};
