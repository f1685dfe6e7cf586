/**
 * Says why a view shows nothing, or not all: no right to see it, no connection, or nothing there. The three never look alike.
 */

const TOPICS = {
  runs: { what: "runs", domains: ["agent", "job", "thread"] },
  alerts: { what: "alerts", domains: ["alert"] },
  cameras: { what: "cameras", domains: ["camera"] },
  octanes: { what: "renders", domains: ["octane"] },
  events: { what: "events", domains: null },
};

/** Problems that a token solves. */
export const WANTS_TOKEN = new Set(["token_required", "bad_token", "token_expired"]);

/** How much of some domains (null: of everything) patterns let somebody read: "all", "some" or "none". */
export function reach(read, domains) {
  if (read.includes(">")) return "all";
  if (domains === null) return read.length ? "some" : "none";
  const whole = (domain) => read.includes(`${domain}.>`) || read.includes("*.>");
  const part = (domain) => read.some((pattern) => ["*", ">", domain].includes(pattern.split(".")[0]));
  if (domains.every(whole)) return "all";
  return domains.some(part) ? "some" : "none";
}

const listed = (patterns) => (patterns.length ? `${patterns.slice(0, 6).join(", ")}${patterns.length > 6 ? ", …" : ""}` : "nothing");

/**
 * Gives `{ kind, title, text, badge, tone }` for a topic, or null where all of it is seen. `kind` is denied, partial,
 * unreachable or waiting. `state` is the client's; `rights` what `/me` says, null until known; `fault` why a list was not read.
 */
export function explain(topic, { state, rights, fault }) {
  const { what, domains } = TOPICS[topic];
  const denied = (title, text) => ({ kind: "denied", title, text, badge: "not shown", tone: "warn" });
  const away = (title, text) => ({ kind: "unreachable", title, text, badge: "not known", tone: "warn" });
  const waiting = (title) => ({ kind: "waiting", title, text: "", badge: "…", tone: "quiet" });
  if (state.phase === "refused" && WANTS_TOKEN.has(state.code)) {
    return denied(`No ${what} are shown without a valid token`, "The server wants to know who is looking: sign in.");
  }
  if (state.phase === "refused") return denied(`No ${what} are shown`, `The server refuses this page: ${state.reason || "it did not say why"}.`);
  if (state.phase === "closed") return away(`Which ${what} there are is not known`, "This page has ended its connection. “Reconnect now” at the top right opens it again.");
  if (state.phase !== "live") {
    // Without a reason nothing was lost: it connects for the first time, or anew, to read something else.
    if (!state.reason) return waiting("Connecting …");
    return away(`Which ${what} there are is not known`, `There is no connection: ${state.reason}. It is tried again by itself.`);
  }
  if (fault && (fault.status === 401 || fault.status === 403)) return denied(`No ${what} are shown`, `Your token does not allow it: ${fault.message}.`);
  if (fault) return away(`Which ${what} there are is not known`, `The server did not answer as it should: ${fault.message}.`);
  if (!rights) return waiting("Reading what there is …");
  const part = reach(rights.read, domains);
  const names = domains ? domains.map((domain) => `${domain}.>`).join(", ") : ">";
  if (part === "none") return denied(`Your token may not read ${what}`, `It may read ${listed(rights.read)}; ${what} need ${names}. There may be some that this page does not show.`);
  if (part === "some") {
    return {
      kind: "partial",
      title: `None of the ${what} that your token may read`,
      text: `It may read ${listed(rights.read)}, and not all of ${names}. There may be more that this page does not show.`,
      badge: "in part",
      tone: "quiet",
    };
  }
  return null;
}
