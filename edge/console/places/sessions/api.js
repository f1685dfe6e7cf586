/** Asks about sessions and their endpoints, as any HTTP client may: nothing here is for the console alone. */

import { ask, query, sessionPath } from "../../client/http.js";

/** `client` has `base` and, by `board.proof()` or `proof()`, the token. Returns `{ list, session(id), create, types }`. */
export function sessionsApi(client) {
  const proof = () => (client.board ?? client).proof();
  const call = async (method, path, body, options = {}) => ask(client.base, method, path, { body, token: await proof(), ...options });
  return {
    list: (values) => call("GET", `/callbacks/sessions${query(values)}`),
    create: (body) => call("POST", "/callbacks/sessions", body, { patience: 20_000 }),
    types: async () => (await call("GET", "/schemas")).types,
    session: (id) => sessionApi(call, sessionPath(id)),
  };
}

function sessionApi(call, path) {
  const post = (way, body = {}, options = {}) => call("POST", `${path}/${way}`, body, options);
  return {
    path,
    read: () => call("GET", path),
    change: (body) => call("PATCH", path, body, { patience: 20_000 }),
    remove: () => call("DELETE", path),
    stats: () => call("GET", `${path}/stats`),
    test: (body, wait = 0) => post(`test${query({ wait: wait || null })}`, body, { patience: wait * 1000 + 10_000 }),
    health: () => call("GET", `${path}/health`),
    attempts: (values) => call("GET", `${path}/attempts${query(values)}`),
    delivery: (delivery) => call("GET", `${path}/deliveries/${encodeURIComponent(delivery)}`),
    resend: (body) => post("resend", body),
    recover: (body) => post("recover", body),
    replay: (body) => post("replay", body),
    recoveries: () => call("GET", `${path}/recoveries`),
    cancel: (recovery) => call("DELETE", `${path}/recoveries/${encodeURIComponent(recovery)}`),
    enable: () => post("enable"),
    disable: (reason) => post("disable", { reason }),
    rotate: (body) => post("secret/rotate", body),
    share: (body) => post("portal", body),
    verify: () => post("verify", {}, { patience: 70_000 }),
  };
}
