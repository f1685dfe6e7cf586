/** Gives one Octane's actor its commands, and says why one cannot be given. */

import { escapeToken } from "../../../client/tokens.js";
import { asking } from "../../parts/again.js";

/** What moves the camera: several people may do so at once. */
const CAMERA = new Set(["orbit", "pan", "dolly", "set_camera", "reset_camera", "undo_camera", "preset_camera"]);

// For how long a change of the camera may be the effect of a command of this page (ms).
const OWN = 1_500;

/** Whether a grant's pattern (`octane.*.pause`, `octane.>`) covers a command's address. */
export function covers(pattern, address) {
  const wanted = pattern.split(".");
  const given = address.split(".");
  for (const [at, token] of wanted.entries()) {
    if (token === ">") return given.length > at;
    if (at >= given.length || (token !== "*" && token !== given[at])) return false;
  }
  return wanted.length === given.length;
}

/** Reads the answer of `GET /commands`: name → JSON Schema of the arguments, for one Octane, or one instance of another actor. */
export function listed(answer, id, actor = "octane") {
  const entries = Array.isArray(answer) ? answer : answer?.commands ?? [];
  const found = new Map();
  for (const entry of entries) {
    if (entry.actor !== actor || (entry.instance && entry.instance !== id && entry.instance !== escapeToken(id))) continue;
    found.set(entry.name ?? entry.command, entry.schema ?? entry.arguments ?? entry.parameters ?? {});
  }
  return found;
}

export class Commands {
  #store;
  #client;
  #answer = null;
  #ask;
  #moved = -Infinity;
  /** The Octane that is commanded. */
  id = null;

  constructor(store, client) {
    this.#store = store;
    this.#client = client;
    this.#ask = asking(() => this.#learn(), { needed: () => client.state.phase === "live" });
  }

  /** Asks which commands there are, again and again where that fails. A server that keeps no list is taken to have all. */
  learn() {
    return this.#ask();
  }

  async #learn() {
    try {
      this.#answer = await this.#client.get("/commands");
    } catch (fault) {
      this.#answer = null;
      throw fault;
    } finally {
      this.#store.touch("octanes");
    }
  }

  get #known() {
    const known = this.#answer && listed(this.#answer, this.id);
    // An actor that is away has no commands in the list, and yet they exist.
    return known?.size ? known : null;
  }

  #address(name) {
    return `octane.${escapeToken(this.id ?? "")}.${name}`;
  }

  #granted(name) {
    const { rights } = this.#store;
    return !rights || rights.command.some((pattern) => covers(pattern, this.#address(name)));
  }

  /** Whether the actor has a command of that name. The list leaves out what the token does not allow: that may exist. */
  offers(name) {
    return (this.#known?.has(name) ?? true) || !this.#granted(name);
  }

  /** The JSON Schema of one argument, where the server tells it. */
  schema(name, argument) {
    return this.#known?.get(name)?.properties?.[argument] ?? null;
  }

  /** Why a command cannot be given now, in words; null where it can. */
  why(name) {
    if (!this.#granted(name)) return `Your token does not allow the command ${this.#address(name)}`;
    const state = this.#store.octanes.get(this.id)?.state ?? {};
    if (state.status === "busy") return "Octane does not answer at the moment";
    if (state.status === "refused") return "Octane refuses the connection";
    if (state.status !== "connected") return "Octane is not connected";
    return null;
  }

  /** Gives a command and returns the answer. Throws an Error whose message is for people. */
  async give(name, values = {}, timeout = undefined) {
    const why = this.why(name);
    if (why) throw new Error(why);
    const { id } = this;
    if (CAMERA.has(name)) this.#moved = performance.now();
    let answer;
    try {
      answer = await this.#client.command("octane", escapeToken(id), name, values, { timeout });
    } catch (fault) {
      if (fault.status) throw fault;
      throw new Error(fault.name === "TimeoutError" ? "the server did not answer in time" : "the server cannot be reached");
    } finally {
      if (CAMERA.has(name)) this.#moved = performance.now();
    }
    if (answer && typeof answer === "object") {
      const { result, ...controls } = answer;
      this.#store.control(id, controls);
    }
    return answer;
  }

  /** Whether this page has moved the camera a moment ago. */
  get moving() {
    return performance.now() - this.#moved < OWN;
  }
}
