/** Gives one camera's actor its commands, and says why one cannot be given. */

import { escapeToken } from "../../../client/tokens.js";
import { asking } from "../../parts/again.js";
import { covers, listed } from "../octane/commands.js";

export class CameraCommands {
  #store;
  #client;
  #answer = null;
  #ask;
  /** The camera that is commanded. */
  id = null;

  constructor(store, client) {
    this.#store = store;
    this.#client = client;
    this.#ask = asking(() => this.#learn(), { needed: () => client.state.phase === "live" });
  }

  /** Asks which commands there are, again and again where that fails. */
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
      this.#store.touch("cameras");
    }
  }

  get #known() {
    return listed(this.#answer, this.id, "camera");
  }

  #address(name) {
    return `camera.${escapeToken(this.id ?? "")}.${name}`;
  }

  /** Whether the token allows a command, as far as anybody knows. */
  allows(name) {
    const { rights } = this.#store;
    return !rights || rights.command.some((pattern) => covers(pattern, this.#address(name)));
  }

  /** Whether the actor has a command of that name, as far as anybody knows. The list leaves out what the token does not allow. */
  offers(name) {
    return this.#known.has(name);
  }

  /** The JSON Schema of one argument, where the server tells it. */
  schema(name, argument) {
    return this.#known.get(name)?.properties?.[argument] ?? null;
  }

  /** Why a command cannot be given now, in words; null where it can. */
  why(name) {
    if (!this.allows(name)) return `Your token does not allow the command ${this.#address(name)}`;
    const status = this.#store.cameras.get(this.id)?.status;
    return status === "gone" ? "The camera is gone" : null;
  }

  /** Gives a command and returns the answer. Throws an Error whose message is for people. */
  async give(name, values = {}, timeout = undefined) {
    const why = this.why(name);
    if (why) throw new Error(why);
    try {
      return await this.#client.command("camera", escapeToken(this.id), name, values, { timeout });
    } catch (fault) {
      if (fault.status) throw fault;
      throw new Error(fault.name === "TimeoutError" ? "the server did not answer in time" : "the server cannot be reached");
    }
  }
}
