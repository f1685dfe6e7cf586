/** Makes elements. Text only ever becomes a text node, so an event cannot inject markup. */

const SVG = "http://www.w3.org/2000/svg";

/** `h("button.quiet", { title: "…", onclick }, "Copy")`: a tag with classes, properties or attributes, and children. */
export function h(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A subject that breaks behind its dots where it is too long for a line, and within a token only where that is too long, too. */
export const dotted = (subject) => String(subject ?? "").split(/(?<=\.)/).flatMap((token, at) => (at ? [h("wbr"), token] : [token]));

/** A text of which what stands in backticks is code. */
export const worded = (text) => String(text ?? "").split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

/** Writes text only where it differs, so that what stands still costs nothing and keeps its selection. */
export function say(element, text) {
  const next = text ?? "";
  if (element.textContent !== next) element.textContent = next;
}

/** Shows or hides. */
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

const ICONS = {
  api: ["M9 4c-3 0-3 2-3 4s0 4-2.5 4C6 12 6 14 6 16s0 4 3 4", "M15 4c3 0 3 2 3 4s0 4 2.5 4C18 12 18 14 18 16s0 4-3 4"],
  camera: ["M3 7h3l2-2h8l2 2h3v12H3z", "M12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z"],
  render: ["M12 3l8 4.5v9L12 21l-8-4.5v-9z", "M12 12l8-4.5M12 12v9M12 12L4 7.5"],
  runs: ["M4 6h10M4 12h16M4 18h7"],
  alert: ["M12 4l9 16H3z", "M12 10v4M12 17v.5"],
  stream: ["M4 12h4l2-6 4 12 2-6h4"],
  agent: ["M6 9h12v10H6z", "M12 9V5M9.5 13.5v1M14.5 13.5v1M3 13v2M21 13v2"],
  job: ["M4 5h16v14H4z", "M8 10l3 2.5L8 15M13 15h4"],
  thread: ["M4 5h16v11H10l-4 3v-3H4z"],
  still: ["M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4", "M12 14.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z"],
  expand: ["M14 4h6v6M10 20H4v-6M20 4l-7 7M4 20l7-7"],
  pause: ["M8 5v14M16 5v14"],
  play: ["M7 5l12 7-12 7z"],
  search: ["M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4"],
  copy: ["M9 9h11v11H9z", "M15 9V4H4v11h5"],
  chevron: ["M9 6l6 6-6 6"],
  down: ["M12 5v14M6 13l6 6 6-6"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  cross: ["M6 6l12 12M18 6L6 18"],
  orbit: ["M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z", "M3 12c0-2.5 4-4.5 9-4.5s9 2 9 4.5-4 4.5-9 4.5", "M14.5 13.5L12 16.5l2.5 3"],
  hand: ["M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3"],
  region: ["M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4", "M11 4h2M11 20h2M4 11v2M20 11v2"],
  pick: ["M14 6l4 4M12 4l8 8M16 8l-9.5 9.5L4 20l1-4 9-9.5"],
  film: ["M4 5h16v14H4z", "M4 9h16M4 15h16M8 5v4M12 5v4M16 5v4M8 15v4M12 15v4M16 15v4"],
  chip: ["M7 7h10v10H7z", "M10 10h4v4h-4z", "M9 7V3M15 7V3M9 21v-4M15 21v-4M7 9H3M7 15H3M21 9h-4M21 15h-4"],
  restart: ["M19 12a7 7 0 1 1-2.2-5.1", "M19.5 3v4.5H15"],
  stop: ["M6 6h12v12H6z"],
  record: ["M12 18a6 6 0 1 0 0-12 6 6 0 0 0 0 12z", "M12 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4z"],
  previous: ["M18 6v12l-9-6z", "M6 6v12"],
  next: ["M6 6v12l9-6z", "M18 6v12"],
  bin: ["M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13", "M10 11v5M14 11v5"],
  back: ["M15 5l-7 7 7 7"],
  undo: ["M5 9h9a5 5 0 0 1 0 10H9", "M9 5L5 9l4 4"],
  home: ["M4 11l8-7 8 7", "M6.5 9.5V20h11V9.5"],
  plus: ["M12 5v14M5 12h14"],
  minus: ["M5 12h14"],
  fit: ["M4 6h16v12H4z", "M8 10V9.5h1M16 14v.5h-1M15 9.5h1v.5M9 14.5H8V14"],
  save: ["M12 4v11M7 11l5 5 5-5", "M4 20h16"],
  split: ["M4 5h16v14H4z", "M12 5v14"],
  sliders: ["M4 7h9M17 7h3M4 17h3M11 17h9", "M15 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4z", "M9 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4z"],
  large: ["M4 5h16v14H4z", "M4 9h16"],
  question: ["M9 9a3 3 0 1 1 4.2 2.8c-.8.4-1.2 1-1.2 2.2", "M12 17.5v.5"],
  menu: ["M4 7h16M4 12h16M4 17h16"],
  lock: ["M6 11h12v9H6z", "M8.5 11V8a3.5 3.5 0 0 1 7 0v3"],
  sessions: ["M4 6h7v5H4zM13 13h7v5h-7z", "M11 8.5h4.5V13M8.5 15.5H13M8.5 11v4.5"],
  webhook: ["M12 8a3 3 0 1 0 0-.1M6 19a3 3 0 1 0 0-.1M18 19a3 3 0 1 0 0-.1", "M10.5 10.5L7.5 16.3M13.5 10.5l3 5.8M9 19h6"],
  deadletter: ["M4 6h16v12H4z", "M4 7l8 6 8-6", "M9 15l6-3"],
  actors: ["M9 11a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4z", "M3.5 19c0-3 2.4-5 5.5-5s5.5 2 5.5 5", "M15.5 5.2a3 3 0 0 1 0 5.6M17 14.3c2.200.700 3.500 2.300 3.500 4.700"],
  diff: ["M8 4v16M16 4v16", "M5 8h6M5 16h6M13 12h6"],
  clock: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z", "M12 7v5l3.500 2"],
  filter: ["M4 5h16l-6.500 7.500V19l-3-1.500v-5z"],
  link: ["M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1", "M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1"],
  info: ["M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z", "M12 11v5M12 7.5v.5"],
};

/** One of this page's own line drawings. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const d of ICONS[name] ?? ICONS.info) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** A polyline whose points are given as numbers, scaled to the highest. */
export function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 60 16");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "sparkline");
  svg.setAttribute("aria-hidden", "true");
  const area = document.createElementNS(SVG, "path");
  const line = document.createElementNS(SVG, "path");
  area.setAttribute("class", "area");
  svg.append(area, line);
  const draw = (values) => {
    const top = Math.max(1, ...values);
    const step = 60 / Math.max(1, values.length - 1);
    const points = values.map((value, at) => `${(at * step).toFixed(2)},${(15 - (value / top) * 13).toFixed(2)}`);
    line.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M0,16L${points.join("L")}L60,16Z`);
  };
  return { element: svg, draw };
}

/** A progress bar; null means "working, nobody knows how far". */
export function meter(label) {
  const fill = h("div.fill");
  const element = h("div.meter", { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  const set = (progress) => {
    const known = Number.isFinite(progress);
    const part = known ? Math.min(1, Math.max(0, progress)) : 0;
    element.classList.toggle("unknown", !known);
    fill.style.transform = known ? `scaleX(${part})` : "";
    if (known) element.setAttribute("aria-valuenow", Math.round(part * 100));
    else element.removeAttribute("aria-valuenow");
  };
  return { element, set };
}

/** Puts text on the clipboard, also on a page that is served without TLS. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea.offstage", { readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** A button that copies what `text()` gives and says that it did. */
export function copyButton(label, text) {
  const caption = h("span", {}, label);
  const button = h("button.quiet", {
    type: "button",
    onclick: async () => {
      await copy(text());
      say(caption, "Copied");
      setTimeout(() => say(caption, label), 1_500);
    },
  }, icon("copy"), caption);
  return button;
}

/** What an empty panel says: what would be here, and a command to try. */
export function lesson(picture, title, explanation, command) {
  return h("div.lesson", {},
    icon(picture),
    h("p.lesson-title", {}, title),
    h("p", {}, explanation),
    command && h("div.command", {}, h("code", {}, command), copyButton("Copy", () => command)));
}
