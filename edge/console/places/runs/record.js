/** Folds the events of one run into what its page shows: its text, its output, its tools, its errors, and what caused what. */

import { OUTPUT } from "../../types.js";

// What one page keeps of a run: some megabytes at most.
const LINES = 5_000;
const TEXT = 400_000;
const TOOLS = 400;
const ERRORS = 20;
const EVENTS = 2_000;

const ENDS = ["completion", "complete", "done", "workflow_complete"];
const MORE = ["thinking", "tool_use", "tool_result", "error", "workflow_start", "workflow_step", "model_selection", "stopping", ...ENDS];

/** The types that a page reads: all but the progress and the states, of which there may be thousands. */
export const TYPES = [...new Set([...OUTPUT.keys(), ...MORE])];

export class RunRecord {
  /** `{ kind: "line" | "mark", text, stream, at, id }`, to be drawn and then forgotten by who draws. */
  fresh = [];
  lines = 0;
  text = "";
  thought = "";
  /** By the id of the stage: `{ name, input, output, error, success, took }`. */
  tools = new Map();
  errors = [];
  /** The newest events by their ids: `{ id, type, at, cause, cursor }`. */
  events = new Map();
  end = null;
  #seen = 0;

  /** How many events were read. */
  get count() {
    return this.#seen;
  }

  take(event) {
    const { event_type: type, data: given } = event;
    const data = given ?? {};
    this.#seen += 1;
    this.#note(event);
    if (type === "thinking") this.thought = cut(`${this.thought}${this.thought && "\n"}${data.thought ?? ""}`);
    else if (type === "tool_use") this.#tool(data.span ?? event.id, { name: data.tool_name, input: data.parameters ?? null, began: event.timestamp });
    else if (type === "tool_result") this.#result(event, data);
    else if (type === "workflow_start" && this.#seen > 1) this.#mark(data.resumed ? "The run went on" : "The run began anew", event);
    else if (type === "error") this.#error(data, event);
    else if (ENDS.includes(type) && !data.parent && !data.parent_id) this.end = event;
    else this.#output(event, data);
  }

  #note({ id, event_type: type, timestamp, cause, cursor }) {
    this.events.set(id, { id, type, at: timestamp, cause: cause ?? null, cursor });
    if (this.events.size > EVENTS) this.events.delete(this.events.keys().next().value);
  }

  #tool(id, parts) {
    this.tools.set(id, { ...this.tools.get(id), ...parts });
    if (this.tools.size > TOOLS) this.tools.delete(this.tools.keys().next().value);
  }

  #result(event, data) {
    const open = [...this.tools].reverse().find(([, tool]) => tool.name === data.tool_name && !("output" in tool))?.[0];
    const id = data.span ?? (this.tools.has(event.cause) ? event.cause : null) ?? open ?? event.id;
    this.#tool(id, { name: data.tool_name, output: data.result ?? null, error: data.error ?? null, success: data.success ?? null });
  }

  #error(data, event) {
    const said = [data.error, data.message, data.content].find((part) => part !== undefined && part !== null) ?? "";
    const text = typeof said === "string" ? said : JSON.stringify(said);
    this.errors.push({ text, type: data.error_type ?? null, recoverable: data.recoverable ?? null, at: event.timestamp });
    if (this.errors.length > ERRORS) this.errors.shift();
    this.#line(text, "error", event);
  }

  #output(event, data) {
    const known = OUTPUT.get(event.event_type);
    if (!known) return;
    const name = known.fields.find((field) => (data[field] ?? null) !== null);
    if (known.joined) {
      if (name) this.text = cut(this.text + String(data[name]));
      return;
    }
    const lines = Array.isArray(data.lines) ? data.lines.map(String) : name ? String(data[name]).replace(/\n$/, "").split("\n") : [];
    for (const line of lines) this.#line(line, String(data.stream ?? event.event_type), event);
  }

  #line(text, stream, event) {
    this.lines += 1;
    this.fresh.push({ kind: "line", text, stream, at: event.timestamp, id: event.id });
    if (this.fresh.length > LINES) this.fresh.splice(0, this.fresh.length - LINES);
  }

  #mark(text, event) {
    this.fresh.push({ kind: "mark", text, stream: "", at: event.timestamp, id: event.id });
  }

  /** From an event back to what caused it, as far as it is known: the last one's `cause` may be an event elsewhere. */
  chain(id) {
    const found = [];
    for (let at = this.events.get(id); at && found.length < 32 && !found.includes(at); at = this.events.get(at.cause)) found.push(at);
    return found;
  }
}

const cut = (text) => (text.length > TEXT * 1.25 ? text.slice(-TEXT) : text);
