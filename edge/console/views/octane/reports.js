/** Shows a dialog of an Octane's statistics: its devices, what takes their memory, its geometry and its textures. */

import { h, say, show } from "../../dom.js";
import { bytes, number } from "../../format.js";
import { faultLine } from "./buttons.js";

// What the wire abbreviates.
const LABELS = {
  tri: "Triangles", disp_tri: "Displacement triangles", hair_seg: "Hair segments", voxel: "Voxels", gaussian_splat: "Gaussian splats", sphere: "Spheres",
  instance: "Instances", emit_pri: "Emitting primitives", emit_instance: "Emitting instances", analytic_li: "Analytic lights",
};
const PLACES = [["device", "On the device"], ["out_of_core", "Out of core"], ["peer_to_peer", "Peer to peer"]];

/** `geometry_count` → `Geometry count`. */
const label = (name) => {
  const words = name.replaceAll("_", " ");
  return LABELS[name] ?? words.charAt(0).toUpperCase() + words.slice(1);
};
const rayTracing = ({ used, supported } = {}) => (used ? "in use" : supported ? "not in use" : supported === false ? "not supported" : "–");

/** A table of `heads` and rows of texts; the first of a row names it. */
function table(caption, heads, rows) {
  return h("section", {}, h("h3", {}, caption), h("div.scroll", {}, h("table", { "aria-label": caption },
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), rest.map((text) => h("td", {}, text))))))));
}

function devicesTable({ devices }) {
  return table("Devices", ["Device", "State", "Used", "Free", "Total", "Out of core", "Peer to peer", "Hardware ray tracing"],
    devices.map(({ name, state, memory, hardware_ray_tracing: rays }) =>
      [name, state ? label(state) : "–", ...["used", "free", "total", "out_of_core", "peer_to_peer"].map((each) => bytes(memory[each])), rayTracing(rays)]));
}

// What takes nothing anywhere is left out: most kinds do.
function memoryTables({ devices }) {
  return devices.map(({ index, name, memory }) => {
    const kinds = [...new Set(PLACES.flatMap(([place]) => Object.keys(memory[place] ?? {})))];
    const rows = kinds.filter((kind) => PLACES.some(([place]) => memory[place]?.[kind]))
      .map((kind) => [label(kind), ...PLACES.map(([place]) => bytes(memory[place]?.[kind]))]);
    return table(`Memory of device ${index}, ${name}`, ["Kind", ...PLACES.map(([, head]) => head)], rows.length ? rows : [["Nothing", "–", "–", "–"]]);
  });
}

const counts = (caption) => (figures) => [table(caption, ["Kind", "Count"], Object.entries(figures).map(([name, value]) => [label(name), number(value)]))];

const REPORTS = [
  ["device_statistics", "Devices", (result) => [devicesTable(result)]],
  ["resource_statistics", "Memory", memoryTables],
  ["geometry_statistics", "Geometry", counts("Geometry")],
  ["texture_statistics", "Textures", counts("Textures")],
];

/** `open()` shows the dialog and fetches; nothing is fetched while it is closed. */
export function reports({ commands, buttons, id }) {
  const fault = faultLine();
  const at = h("span.faint", { role: "status" });
  const tables = h("div.tables");
  const dialog = h("dialog.reports", { "aria-label": "GPU statistics" });
  let asked = 0;

  // One report that this Octane declines does not take the others with it.
  const ask = async ([name, title, draw]) => {
    if (!commands.offers(name)) return [];
    try {
      return draw((await commands.give(name)).result);
    } catch (problem) {
      return [h("section", {}, h("h3", {}, title), h("p.refused", {}, problem.message || String(problem)))];
    }
  };
  const fetchAll = async () => {
    const mine = (asked += 1);
    tables.setAttribute("aria-busy", "true");
    say(at, "Asking Octane …");
    const found = [];
    for (const each of REPORTS) {
      found.push(...await ask(each));
      if (mine !== asked || !dialog.open) return;
    }
    tables.removeAttribute("aria-busy");
    tables.replaceChildren(...found);
    say(at, `${id()}, ${new Date().toLocaleTimeString()}`);
  };

  const refresh = buttons.make({ label: "Refresh", text: "Refresh", quiet: true, run: fetchAll, fault });
  const close = h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.append(h("header", {}, h("h2", {}, "GPU statistics"), at, refresh, close), fault.element, tables);
  // A click beside it closes it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    asked += 1;
    tables.replaceChildren();
  });
  const open = () => {
    dialog.showModal();
    refresh.click();
  };
  show(fault.element, false);
  return { element: dialog, open };
}
