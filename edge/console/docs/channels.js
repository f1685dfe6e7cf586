// Draws a channel of the AsyncAPI document: where it is, what it is for, and a command that reads it.

import { h } from "../dom.js";
import { code, prose } from "./fields.js";

/** The card of one channel. */
export function channelCard(made, name, channel) {
  const server = channel.servers?.[0] && made.servers[channel.servers[0].$ref.split("/").pop()];
  const does = Object.values(made.operations).find((each) => each.channel.$ref === `#/channels/${name}`);
  const command = commandOf(name, channel.address);
  return h("article.card", { id: `channel-${name}` },
    h("h3", {}, channel.title),
    channel.address && h("p.address", {}, h("span.way", {}, name === "events" ? "POST" : (server?.protocol ?? "http")), h("code", {}, channel.address)),
    h("p", {}, prose(channel.description ?? does?.summary)),
    command && code(command, "Shell"));
}

function commandOf(name, address) {
  const at = location.origin;
  const session = `${at}${address?.replace("{session_id}", "$SESSION")}`;
  return {
    events: `curl ${at}/events -d '{"subject":"agent.run-42.progress","data":{"progress":0.4}}'`,
    websocket: `websocat ${session.replace(/^http/, "ws")}`,
    sse: `curl -N ${session}`,
    polling: `curl '${session}?wait=20&cursor='$CURSOR`,
  }[name];
}
