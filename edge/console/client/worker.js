/** A SharedWorker that holds the connections of all tabs of an origin. */

import { Host } from "./host.js";

const host = new Host();

globalThis.onconnect = ({ ports: [port] }) => {
  const post = (message) => port.postMessage(message);
  port.onmessage = ({ data }) => host.receive(port, data, post);
  post({ say: "hello" });
};
