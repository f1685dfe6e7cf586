/** Shows a live render to work in: its picture, what moves its camera, and what controls it. */

import { h, icon, say, show } from "../dom.js";
import { absence } from "./absence.js";
import { Buttons } from "./octane/buttons.js";
import { Commands } from "./octane/commands.js";
import { condition } from "./octane/condition.js";
import { found } from "./octane/found.js";
import { Framing } from "./octane/framing.js";
import { help } from "./octane/help.js";
import { CameraMoves } from "./octane/moves.js";
import { Pane } from "./octane/pane.js";
import { presence } from "./octane/presence.js";
import { reports } from "./octane/reports.js";
import { settings } from "./octane/settings.js";
import { statusLine } from "./octane/status.js";
import { toolbar } from "./octane/toolbar.js";
import { badge, panel, rebadge } from "./panel.js";

const EMPTY = {
  title: "No render yet",
  explanation: "Point the octane actor at a running Octane, or try the simulator, which speaks the same wire.",
  command: "callboard simulate octane",
};
// `/#viewport` opens the page with the large view.
const LARGE = "#viewport";
const BACKGROUND = "callboard.background";
const PICKED = 10_000;

/** The render panel. */
class RenderView {
  #root;
  #store;
  #client;
  #id = null;
  #tool = "camera";
  #status = "";
  #picking = null;

  constructor(root, store, client) {
    this.#root = root;
    this.#store = store;
    this.#client = client;
    this.commands = new Commands(store, client);
    this.buttons = new Buttons(this.commands);
    this.framing = new Framing();
    this.moves = new CameraMoves((name, values) => this.commands.give(name, values), (fault) => this.bar.fault.tell("Camera", fault));
    this.presence = presence(store, this.commands, () => this.panes.forEach(({ gestures }) => gestures.suspend()));
    this.reports = reports(this.#shared());
    this.bar = toolbar({ ...this.#shared(), pane: () => this.panes[0], report: () => this.reports.open(), choose: (tool) => this.#choose(tool), zoom: (factor) => this.#zoom(factor) });
    this.settings = settings({ ...this.#shared(), pane: () => this.panes[0], paint: (background) => this.#paint(background) });
    this.panes = [new Pane(this.#shared(), "Render")];
    this.status = statusLine();
    this.help = help();
    this.#build();
    store.watch("octanes", () => this.#draw());
    client.onState(({ phase }) => phase === "live" && this.commands.learn());
    setInterval(() => this.#tell(), 500);
    if (location.hash === LARGE) this.#enlarge(true);
  }

  // What the parts of the panel share.
  #shared() {
    return {
      client: this.#client,
      commands: this.commands,
      buttons: this.buttons,
      framing: this.framing,
      moves: this.moves,
      id: () => this.#id,
      tool: () => this.#tool,
      movable: () => this.commands.offers("orbit") && !this.commands.why("orbit"),
      background: () => localStorage.getItem(BACKGROUND) ?? "black",
      took: () => this.presence.started(),
      region: (rect) => this.#try("Render region", () => this.commands.give("set_region", rect)),
      clearRegion: () => this.#try("Render region", () => this.commands.give("clear_region")),
      filmRegion: (rect) => this.#try("Film region", () => this.commands.give("set_film_region", rect)),
      clearFilmRegion: () => this.#try("Film region", () => this.commands.give("clear_film_region")),
      pick: (at) => this.#pick(at),
      changed: () => this.#tell(),
    };
  }

  #build() {
    const { badges, tools, body } = panel(this.#root, "render", "Render");
    this.state = badge("", "quiet");
    this.simulated = badge("SIMULATED", "warn", "These pictures are made by a simulator, not by a real device");
    this.empty = absence("render", EMPTY);
    badges.append(this.state, this.simulated, this.empty.badge);
    this.choice = h("select", { "aria-label": "Which render", onchange: () => this.#open(this.choice.value) });
    const tool = (label, picture, onclick) => h("button.tool", { type: "button", title: label, "aria-label": label, onclick }, icon(picture));
    this.second = tool("Second viewport", "split", () => this.#split());
    this.drawer = tool("Settings", "sliders", () => this.#toggleSettings());
    this.large = tool("Large view", "large", () => this.#enlarge(!this.#root.classList.contains("large")));
    this.full = tool("Full screen", "expand", () => this.#fullScreen());
    this.ask = tool("Mouse, touch and keys", "question", () => this.help.open());
    for (const button of [this.second, this.drawer, this.large]) button.setAttribute("aria-pressed", "false");
    tools.append(this.choice, this.second, this.drawer, this.ask, this.large, this.full);
    this.picked = h("p.picked", { role: "status", hidden: true });
    this.area = h("div.panes", {}, this.panes[0].element, h("div.notes", {}, this.presence.element, this.picked));
    this.main = h("div.work", {}, h("div.column", {}, this.area, this.bar.element, this.bar.fault.element, this.status.element), this.settings.element);
    body.append(this.main, this.help.element, this.reports.element, ...this.empty.elements);
    this.area.addEventListener("keydown", (event) => this.#key(event));
    this.area.addEventListener("dblclick", (event) => event.target.closest(".stage") && !event.target.closest("button, select") && this.#tool !== "pick" && this.#fullScreen());
    this.#root.addEventListener("keydown", (event) => event.key === "Escape" && this.#escape());
    document.addEventListener("fullscreenchange", () => this.#root.classList.toggle("full", document.fullscreenElement === this.#root));
  }

  get #device() {
    return this.#store.octanes.get(this.#id);
  }

  #open(id) {
    if (id === this.#id) return;
    this.moves.drop();
    this.#id = this.commands.id = id;
    for (const pane of this.panes) {
      pane.pass = "beauty";
      pane.show();
    }
    this.#draw();
  }

  #split() {
    const second = this.panes.length < 2;
    if (second) {
      const pane = new Pane(this.#shared(), "Second viewport");
      this.panes.push(pane);
      this.panes[0].element.after(pane.element);
      const other = (this.#device?.statistics?.passes ?? []).find((name) => name !== this.panes[0].pass);
      pane.show(other ?? this.panes[0].pass);
    } else {
      const pane = this.panes.pop();
      pane.close();
      pane.element.remove();
    }
    this.area.classList.toggle("two", second);
    this.second.setAttribute("aria-pressed", String(second));
    this.#draw();
  }

  #toggleSettings() {
    show(this.settings.element, this.settings.element.hidden);
    this.drawer.setAttribute("aria-pressed", String(!this.settings.element.hidden));
  }

  #enlarge(large) {
    this.#root.classList.toggle("large", large);
    this.large.setAttribute("aria-pressed", String(large));
    for (const panel of this.#root.parentElement.children) if (panel !== this.#root) panel.inert = large;
    history.replaceState(null, "", `${location.pathname}${location.search}${large ? LARGE : ""}`);
  }

  #fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#root.requestFullscreen?.().catch(() => {});
  }

  #paint(background) {
    localStorage.setItem(BACKGROUND, background);
    for (const pane of this.panes) pane.show();
  }

  #zoom(factor) {
    const { clientWidth: width, clientHeight: height } = this.panes[0].element;
    this.framing.zoom(factor, { x: width / 2, y: height / 2 }, this.panes[0].picture, { width, height });
  }

  #choose(tool) {
    this.#tool = tool;
    if (tool !== "pick") show(this.picked, false);
    for (const pane of this.panes) {
      pane.element.dataset.tool = tool;
      if (tool !== "pick") pane.marker = null;
    }
    this.#draw();
  }

  async #try(label, run) {
    try {
      await run();
      this.bar.fault.clear();
      return true;
    } catch (fault) {
      this.bar.fault.tell(label, fault);
      return false;
    }
  }

  async #pick(at) {
    const { what, label } = this.bar.picks();
    if (!at) return;
    for (const pane of this.panes) pane.marker = at;
    await this.#try(`Pick ${label.toLowerCase()}`, async () => {
      const answer = await this.commands.give("pick", { ...at, what });
      say(this.picked, found(label, at, answer?.result));
      show(this.picked, true);
      clearTimeout(this.#picking);
      this.#picking = setTimeout(() => show(this.picked, false), PICKED);
    });
  }

  #key(event) {
    const stage = event.target.closest(".stage");
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const { bar } = this;
    const acts = {
      " ": () => bar.act("play"), u: () => bar.act("undo"), Home: () => bar.act("reset"), 0: () => bar.act("fit"), 1: () => bar.act("actual"),
      c: () => bar.act("camera"), h: () => bar.act("hand"), r: () => bar.act("region"), m: () => bar.act("film"), p: () => bar.act("pick"),
      f: () => this.#fullScreen(), l: () => this.large.click(), "?": () => this.help.open(),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key] ?? (this.#tool === "pick" && this.#aim(event, stage));
    if (!act) return;
    event.preventDefault();
    act();
  }

  // A pick by keys: arrows move the cross, Enter picks.
  #aim(event, stage) {
    const pane = this.panes.find(({ element }) => element === stage);
    const { width, height } = pane.picture;
    const at = pane.marker ?? { x: width >> 1, y: height >> 1 };
    const step = event.shiftKey ? 20 : 4;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (by && width) return () => { pane.marker = { x: Math.min(width - 1, Math.max(0, at.x + by[0])), y: Math.min(height - 1, Math.max(0, at.y + by[1])) }; };
    return event.key === "Enter" && width ? () => this.#pick(at) : null;
  }

  #escape() {
    if (this.help.element.open || this.reports.element.open || document.fullscreenElement) return;
    if (this.#tool !== "camera") this.#choose("camera");
    else if (this.#root.classList.contains("large")) this.#enlarge(false);
  }

  #draw() {
    const { octanes } = this.#store;
    const any = octanes.size > 0;
    for (const part of [this.main, this.state, this.second, this.drawer, this.ask, this.large, this.full]) show(part, any);
    this.empty.tell(this.#store.situation("octanes"), !any);
    show(this.choice, octanes.size > 1);
    if (!any) {
      show(this.simulated, false);
      return;
    }
    const ids = [...octanes.keys()].sort();
    if (ids.join("\n") !== [...this.choice.options].map((option) => option.value).join("\n")) {
      this.choice.replaceChildren(...ids.map((id) => h("option", { value: id }, id)));
    }
    if (!octanes.has(this.#id)) this.#open(octanes.has("main") ? "main" : ids[0]);
    this.choice.value = this.#id;
    const device = this.#device;
    this.presence.tell(device);
    // An actor that was started anew may have other commands.
    if (this.#status !== `${this.#id} ${device.state?.status}`) this.commands.learn();
    this.#status = `${this.#id} ${device.state?.status}`;
    for (const pane of this.panes) {
      pane.offer(device.statistics?.passes ?? []);
      pane.region = device.controls?.region ?? null;
      pane.film = device.controls?.film_region ?? null;
    }
    this.buttons.tell();
    this.bar.tell(device);
    this.settings.tell(device);
    this.#root.classList.toggle("movable", this.#shared().movable());
    this.#tell();
  }

  #tell() {
    const device = this.#device;
    if (!device) return;
    const now = this.#client.clock.now();
    const situation = this.#store.situation("octanes");
    const away = situation?.kind === "unreachable" ? situation.text || situation.title : "";
    for (const pane of this.panes) {
      const what = condition(device, pane, now, away);
      pane.tell(what);
      if (pane !== this.panes[0]) continue;
      rebadge(this.state, what.word, what.tone);
      const runs = !what.stale && device.statistics?.state === "rendering";
      this.status.tell(device.statistics ?? {}, runs, { header: pane.header, region: device.controls?.region });
      show(this.simulated, Boolean(pane.header?.simulated ?? device.state?.simulated));
    }
  }
}

export function renderView(root, store, client) {
  return new RenderView(root, store, client);
}
