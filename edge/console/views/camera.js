/** Shows a live camera to work with: its picture, what frames it, its controls, and its recordings. */

import { h, icon, say, show } from "../dom.js";
import { absence } from "./absence.js";
import { CameraCommands } from "./camera/commands.js";
import { condition } from "./camera/condition.js";
import { controls } from "./camera/controls.js";
import { CameraFraming } from "./camera/framing.js";
import { cameraHelp } from "./camera/help.js";
import { CameraPane, inPicture, inSensor } from "./camera/pane.js";
import { recordings } from "./camera/recordings.js";
import { cameraToolbar } from "./camera/toolbar.js";
import { Buttons } from "./octane/buttons.js";
import { badge, panel, rebadge } from "./panel.js";

const EMPTY = {
  title: "No camera yet",
  explanation: "A camera appears here as soon as its actor runs. Without hardware it shows a simulated picture, and says so.",
  command: "callboard actor camera",
};
// `/#camera-view` opens the page with the large view.
const LARGE = "#camera-view";
const PREFER = "callboard.camera.transport";

/** The camera panel. */
class CameraView {
  #root;
  #store;
  #client;
  #id = null;
  #chosen = null;
  #tool = "hand";
  #height = null;
  #learned = "";

  constructor(root, store, client) {
    this.#root = root;
    this.#store = store;
    this.#client = client;
    this.commands = new CameraCommands(store, client);
    this.buttons = new Buttons(this.commands);
    this.framing = new CameraFraming();
    this.pane = new CameraPane(this.#shared());
    this.bar = cameraToolbar(this.#shared());
    this.controls = controls(this.#shared());
    this.recordings = recordings(this.#shared());
    this.help = cameraHelp();
    this.#build();
    store.watch("cameras", () => this.#draw());
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
      id: () => this.#id,
      tool: () => this.#tool,
      choose: (tool) => this.#choose(tool),
      zoom: (factor) => this.#zoom(factor),
      figures: () => this.pane.toggleFigures(),
      prefer: () => sessionStorage.getItem(PREFER) ?? "auto",
      chooseTransport: (name) => this.#chooseTransport(name),
      wish: () => ({ height: this.#height }),
      ask: (height) => this.#ask(height),
      region: (rect) => this.#region(rect),
      clearRegion: () => this.#try("Region", async () => this.#controlled(await this.commands.give("clear_region"))),
      draw: () => this.#choose("region"),
      controlled: (answer) => this.#controlled(answer),
      closeControls: () => this.#toggleControls(false),
      // One that is gone has no commands, and its recordings are there still.
      records: () => this.commands.offers("start_recording") || Boolean(this.#device?.recording) || this.#device?.status === "gone",
      deletes: () => this.commands.allows("stop_recording"),
      recorded: () => setTimeout(() => this.recordings.read(), 500),
      mention: (text) => this.bar.mention(text),
      changed: () => this.#tell(),
    };
  }

  #build() {
    const { badges, tools, body } = panel(this.#root, "camera", "Camera");
    this.state = badge("", "quiet");
    this.simulated = badge("SIMULATED", "warn", "These pictures are made by a simulator, not by a real device");
    this.empty = absence("camera", EMPTY);
    badges.append(this.state, this.simulated, this.empty.badge);
    this.choice = h("select", { "aria-label": "Which camera", title: "Which camera", onchange: () => this.#chooseCamera(this.choice.value) });
    const tool = (label, picture, onclick) => h("button.tool", { type: "button", title: label, "aria-label": label, onclick }, icon(picture));
    this.drawer = tool("Controls", "sliders", () => this.#toggleControls(this.controls.element.hidden));
    this.ask = tool("Mouse, touch and keys", "question", () => this.help.open());
    this.large = tool("Large view", "large", () => this.#enlarge(!this.#root.classList.contains("large")));
    this.full = tool("Full screen", "expand", () => this.#fullScreen());
    for (const button of [this.drawer, this.large]) button.setAttribute("aria-pressed", "false");
    tools.append(this.choice, this.drawer, this.ask, this.large, this.full);
    this.pane.element.append(this.recordings.video);
    this.area = h("div.panes", {}, this.pane.element);
    this.source = h("p.source.faint");
    this.column = h("div.column", {}, this.area, this.bar.element, this.bar.fault.element, this.bar.note, this.recordings.element, this.source);
    this.main = h("div.work", {}, this.column, this.controls.element);
    body.append(this.main, this.help.element, ...this.empty.elements);
    this.area.addEventListener("keydown", (event) => this.#key(event));
    this.area.addEventListener("dblclick", (event) => event.target.closest(".stage") && !event.target.closest("button, select") && this.#tool === "hand" && this.#fullScreen());
    this.#root.addEventListener("keydown", (event) => event.key === "Escape" && this.#escape());
    document.addEventListener("fullscreenchange", () => this.#root.classList.toggle("full", document.fullscreenElement === this.#root));
  }

  get #device() {
    return this.#store.cameras.get(this.#id);
  }

  #chooseCamera(id) {
    this.#chosen = id;
    this.#open(id);
  }

  #open(id) {
    if (id === this.#id) return;
    this.#id = this.commands.id = id;
    this.#choose("hand");
    this.framing.fit();
    this.pane.play(id);
    this.recordings.open(id);
    this.#draw();
  }

  #choose(tool) {
    this.#tool = tool;
    this.pane.element.dataset.tool = tool;
    this.#tell();
  }

  #zoom(factor) {
    const { width, height } = this.pane.box;
    this.framing.zoom(factor, { x: width / 2, y: height / 2 }, this.pane.picture, this.pane.box);
  }

  #chooseTransport(name) {
    sessionStorage.setItem(PREFER, name);
    this.pane.player?.prefer(name);
  }

  #ask(height) {
    this.#height = height;
    this.pane.player?.ask({ height });
  }

  #toggleControls(open) {
    show(this.controls.element, open);
    this.drawer.setAttribute("aria-pressed", String(open));
    if (!open && this.controls.element.contains(document.activeElement)) this.drawer.focus();
    this.#tell();
  }

  #enlarge(large) {
    this.#root.classList.toggle("large", large);
    this.large.setAttribute("aria-pressed", String(large));
    for (const other of this.#root.parentElement.children) if (other !== this.#root) other.inert = large;
    history.replaceState(null, "", `${location.pathname}${location.search}${large ? LARGE : ""}`);
  }

  #fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#root.requestFullscreen?.().catch(() => {});
  }

  async #try(label, run) {
    try {
      await run();
      this.bar.fault.clear();
    } catch (fault) {
      this.bar.fault.tell(label, fault);
    }
  }

  // The effective state that a command answers; the event of it comes a moment later.
  #controlled(answer) {
    const { controls: found, fps, quality, revision, note } = answer ?? {};
    if (found && Number.isFinite(revision)) this.#store.controlCamera(this.#id, { fps, quality, controls: found, revision });
    if (note) this.bar.mention(`${note.charAt(0).toUpperCase()}${note.slice(1)}.`);
  }

  // What the picture shows of the sensor, in the sensor's pixels.
  get #shown() {
    const control = this.#device?.controls?.controls?.region;
    const { width, height } = this.pane.picture;
    const { value, most } = control ?? {};
    if (value?.width > 0 && value?.height > 0) return value;
    return most?.width > 0 ? { left: 0, top: 0, width: most.width, height: most.height } : { left: 0, top: 0, width, height };
  }

  async #region(rect) {
    const asked = inSensor(rect, this.#shown, this.pane.picture);
    await this.#try("Region", async () => this.#controlled(await this.commands.give("set_region", asked, 10)));
    this.#choose("hand");
  }

  #key(event) {
    if (event.target !== this.pane.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const { bar } = this;
    const acts = {
      0: () => bar.act("fit"), 1: () => bar.act("actual"), f: () => this.#fullScreen(), l: () => this.large.click(), i: () => bar.act("figures"),
      s: () => bar.act("still"), v: () => bar.act("record"), r: () => bar.act("region"), c: () => this.drawer.click(),
      " ": () => this.recordings.toggle(), End: () => this.recordings.live(), "?": () => this.help.open(),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #escape() {
    if (this.#root.querySelector("dialog[open]") || document.fullscreenElement) return;
    if (this.#tool !== "hand") this.#choose("hand");
    else if (this.recordings.playing) this.recordings.live();
    else if (!this.controls.element.hidden) this.#toggleControls(false);
    else if (this.#root.classList.contains("large")) this.#enlarge(false);
  }

  #draw() {
    const { cameras } = this.#store;
    const any = cameras.size > 0;
    for (const part of [this.main, this.state, this.drawer, this.ask, this.large, this.full]) show(part, any);
    this.empty.tell(this.#store.situation("cameras"), !any);
    show(this.choice, cameras.size > 1);
    if (!any) {
      show(this.simulated, false);
      return;
    }
    const ids = [...cameras.keys()].sort();
    if (ids.join("\n") !== [...this.choice.options].map((option) => option.value).join("\n")) {
      this.choice.replaceChildren(...ids.map((id) => h("option", { value: id }, id)));
    }
    // Cameras become known one by one: until somebody has chosen, it is the main one as soon as that is known.
    const chosen = cameras.has(this.#chosen) ? this.#chosen : cameras.has("main") ? "main" : ids[0];
    if (chosen !== this.#id) {
      this.#open(chosen);
      return;
    }
    this.choice.value = this.#id;
    const device = this.#device;
    if (device.width > 0 && device.height > 0) this.pane.element.style.setProperty("--aspect", `${device.width} / ${device.height}`);
    // An actor that was started anew may have other commands.
    const learned = `${this.#id} ${device.status === "gone" || device.status === "failed"} ${device.since ?? ""}`;
    if (this.#learned !== learned) this.commands.learn();
    this.#learned = learned;
    this.#showRegion(device);
    this.buttons.tell();
    this.recordings.tell(device);
    this.#tell();
  }

  #showRegion(device) {
    const region = device.controls?.controls?.region;
    const { picture } = this.pane;
    const shown = this.#shown;
    // A camera that sends its region only shows nothing else, and so no frame round it.
    const part = region?.value && picture.width && (region.value.width < shown.width || region.value.height < shown.height);
    this.pane.region = part ? inPicture(region.value, shown, picture) : null;
  }

  #tell() {
    const device = this.#device;
    const { player } = this.pane;
    if (!device || !player) return;
    const now = this.#client.clock.now();
    const situation = this.#store.situation("cameras");
    const away = situation?.kind === "unreachable" ? situation.text || situation.title : "";
    const what = condition(device, { state: player.state, header: player.header, freshAt: this.pane.freshAt }, now, away);
    const { playing } = this.recordings;
    this.#root.classList.toggle("playing", playing);
    rebadge(this.state, playing ? "Recording" : what.word, playing ? "info" : what.tone);
    this.state.title = [what.title, what.text].filter(Boolean).join(". ");
    this.pane.tell(device, what, playing);
    this.bar.tell(device, now);
    if (!this.controls.element.hidden) this.controls.tell(device, player);
    const viewers = Number.isFinite(device.viewers) ? `, ${device.viewers} ${device.viewers === 1 ? "viewer" : "viewers"}` : "";
    say(this.source, `${[device.source ?? device.id, device.host ?? device.file ?? device.device].filter(Boolean).join(" ")}${viewers}`);
    show(this.simulated, Boolean(player.header?.simulated ?? device.simulated));
  }
}

export function cameraView(root, store, client) {
  return new CameraView(root, store, client);
}
