/** Lists what mouse, touch and keys do on a camera's picture. */

import { h } from "../../dom.js";
import { help } from "../octane/help.js";

const LISTS = [
  ["Picture", [
    ["Wheel, pinch,  +  and  −", "zoom"],
    ["Drag, or arrows", "move the zoomed picture"],
    ["0", "fit"],
    ["1", "one to one"],
    ["F, or double click", "full screen"],
    ["L", "large view"],
    ["I", "figures: rates, latency, transport"],
  ]],
  ["Camera", [
    ["S", "save a still"],
    ["V", "start or stop a recording"],
    ["R", "region of interest: drag a rectangle"],
    ["C", "controls"],
    ["Escape", "leave region, playback or large view"],
    ["?", "this list"],
  ]],
  ["Recordings", [
    ["Click on the timeline", "play from there"],
    ["← and →", "10 seconds back and forward"],
    ["Shift + ← and →", "one minute"],
    ["Page up, Page down", "previous and next recording"],
    ["Space, on picture or timeline", "pause and go on"],
    ["End", "back to live"],
  ]],
];

const NOTE = "Keys act where the picture or the timeline has the focus. A wheel acts on a page that scrolls once the picture was clicked.";

export function cameraHelp() {
  const made = help(LISTS, NOTE);
  made.element.append(h("p", {}, h("a", { href: "/console/camera-test.html" }, "Test which transports work here"), ", and get a report."));
  return made;
}
