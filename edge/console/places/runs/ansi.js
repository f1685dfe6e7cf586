/**
 * Reads what a program prints for a terminal: colours become classes, and all else that steers a terminal is left out.
 *
 * Text only ever becomes text nodes. Colours of 256 or 16 million are taken for the nearest of the sixteen, which have enough
 * contrast in light and in dark.
 */

import { h } from "../../dom.js";

// CSI, OSC (ended by BEL or ST), other strings of controls, two-character escapes; one that is cut off at the end is left out, too.
const PIECES = /\x1b\[([0-9;:]*)([ -/]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[PX^_][^\x1b]*(?:\x1b\\|$)|\x1b\[[0-9;:?<=>]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?/g;
// Control characters beside tab and line feed.
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;
const GREY = 8;
const WHITE = 7;
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "struck" };
const ENDS = { 21: ["bold"], 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["struck"] };

/** How text looks from here on; nothing is set at the beginning. */
export const plain = () => ({ fg: null, bg: null, flags: new Set() });

/** The nearest of the sixteen colours. */
function nearest(r, g, b) {
  const most = Math.max(r, g, b);
  if (most - Math.min(r, g, b) < 40) return most > 140 ? WHITE : GREY;
  const bar = most * 0.5;
  return (r > bar ? 1 : 0) | (g > bar ? 2 : 0) | (b > bar ? 4 : 0);
}

/** One of 256: the sixteen, a cube of 6 × 6 × 6, and greys. */
function ofTable(n) {
  if (n < 16) return n;
  if (n >= 232) return n > 243 ? WHITE : GREY;
  const level = (part) => (part ? part * 40 + 55 : 0);
  const at = n - 16;
  return nearest(level(Math.floor(at / 36)), level(Math.floor(at / 6) % 6), level(at % 6));
}

/** Takes one "select graphic rendition", such as `1;31`; its numbers come from the program and may be anything. */
function render(style, text) {
  const codes = text.split(/[;:]/).map((part) => Number.parseInt(part || "0", 10));
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) Object.assign(style, plain());
    else if (FLAGS[code]) style.flags.add(FLAGS[code]);
    else if (ENDS[code]) for (const flag of ENDS[code]) style.flags.delete(flag);
    else if (code >= 30 && code <= 37) style.fg = code - 30;
    else if (code >= 90 && code <= 97) style.fg = code - 82;
    else if (code === 39) style.fg = null;
    else if (code >= 40 && code <= 47) style.bg = code - 40;
    else if (code >= 100 && code <= 107) style.bg = code - 92;
    else if (code === 49) style.bg = null;
    else if (code === 38 || code === 48) {
      const which = code === 38 ? "fg" : "bg";
      if (codes[at + 1] === 5 && codes[at + 2] >= 0 && codes[at + 2] < 256) style[which] = ofTable(codes[at + 2]);
      else if (codes[at + 1] === 2 && codes.length > at + 4) style[which] = nearest(...codes.slice(at + 2, at + 5));
      at += codes[at + 1] === 5 ? 2 : codes[at + 1] === 2 ? 4 : codes.length;
    }
  }
}

function classes({ fg, bg, flags }) {
  const found = [...flags].map((flag) => `ansi-${flag}`);
  if (fg !== null) found.push(`ansi-fg-${fg}`);
  if (bg !== null) found.push("ansi-bg", `ansi-bg-${bg}`);
  return found.sort();
}

/** What is left of a line that was written over: a carriage return goes back to its begin. */
function overwritten(line) {
  const parts = line.replace(/\r+$/, "").split("\r");
  return parts.at(-1) || parts.at(-2) || "";
}

/** Text without all that steers a terminal. */
export const plainText = (text) => String(text).split("\n").map((line) => overwritten(line).replace(PIECES, "").replace(CONTROLS, "")).join("\n");

/** A line as text nodes and spans; `style` goes on from line to line. */
export function ansi(line, style = plain()) {
  const text = overwritten(line);
  const nodes = [];
  const put = (piece) => {
    const clean = piece.replace(CONTROLS, "");
    if (!clean) return;
    const names = classes(style);
    nodes.push(names.length ? h(`span.${names.join(".")}`, {}, clean) : clean);
  };
  let from = 0;
  for (const found of text.matchAll(PIECES)) {
    put(text.slice(from, found.index));
    if (found[3] === "m" && !found[2]) render(style, found[1]);
    from = found.index + found[0].length;
  }
  put(text.slice(from));
  return nodes;
}
