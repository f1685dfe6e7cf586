/** Opens the place that the address names, and follows links, back and forward without loading the page anew. */

import { PLACES, addressOf, parseAddress } from "./places.js";

// The stylesheets of places, by address: `{ link, loaded }`.
const sheets = new Map();
let applied = [];

/** Adds a place's stylesheet once, and waits until it is loaded. */
function styled(address) {
  if (!sheets.has(address)) {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = address;
    // Where it failed the page asks for it again: a place without its looks is better than none.
    const loaded = new Promise((resolve) => (link.onload = link.onerror = resolve));
    link.addEventListener("load", () => applyOnly(applied));
    sheets.set(address, { link, loaded });
    document.head.append(link);
  }
  return sheets.get(address).loaded;
}

/** Switches the stylesheets of all other places off: two places may give different looks to one class name. */
function applyOnly(addresses) {
  applied = addresses;
  for (const [address, { link }] of sheets) if (link.sheet) link.sheet.disabled = !applied.includes(address);
}

export class Router {
  #outlet;
  #context;
  #told;
  #open = null;
  #turn = 0;
  #opening = false;

  /** Shows places in `outlet`; `told` has `opening(place)`, `opened(place, view)` and `failed(place, fault, again)`. */
  constructor(outlet, told) {
    this.#outlet = outlet;
    this.#told = told;
  }

  /** What each place is handed when it is opened. */
  start(context) {
    this.#context = context;
    addEventListener("popstate", () => this.#follow());
    document.addEventListener("click", (click) => this.#click(click));
    return this.#follow();
  }

  /** The place that is open: `{ place, view, params }`; null before the first. */
  get current() {
    return this.#open;
  }

  /** Goes to an address: `{ replace: true }` leaves no step back. */
  go(address, { replace = false } = {}) {
    const same = address === location.pathname + location.search;
    if (!same) history[replace ? "replaceState" : "pushState"](null, "", address);
    return this.#follow();
  }

  /** Writes down where a place stands, such as its filter, without opening anything; a place that is being left writes nothing. */
  mark(path, query, { replace = true } = {}) {
    if (!this.#open || this.#opening) return;
    const address = addressOf(this.#open.place.name, path, query);
    if (address === location.pathname + location.search) return;
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this.#open.params = parseAddress(location);
  }

  /** Loads a place's module and styles, so that it opens at once. */
  async prepare(name) {
    const module = await PLACES.find((place) => place.name === name).load().catch(() => null);
    (module?.default.styles ?? []).forEach(styled);
  }

  #click(click) {
    if (click.defaultPrevented || click.button !== 0 || click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) return;
    const link = click.target.closest?.("a[href]");
    if (!link || link.target || link.origin !== location.origin || link.hasAttribute("download")) return;
    if (!parseAddress(link) || (link.hash && link.pathname === location.pathname)) return;
    click.preventDefault();
    this.go(link.pathname + link.search);
  }

  async #follow() {
    const params = parseAddress(location) ?? parseAddress({ pathname: "/", search: "" });
    const place = PLACES.find(({ name }) => name === params.name);
    const turn = (this.#turn += 1);
    this.#opening = false;
    if (this.#open?.place === place && this.#open.view.update) {
      this.#open.params = params;
      this.#open.view.update(params);
      this.#told.opened(place, this.#open.view);
      return;
    }
    this.#told.opening(place);
    this.#opening = true;
    try {
      const module = await place.load();
      const { default: made } = module;
      await Promise.all((made.styles ?? []).map(styled));
      // Somebody has gone on meanwhile.
      if (turn !== this.#turn) return;
      this.#close();
      applyOnly(made.styles ?? []);
      const view = made.open(this.#context, params);
      this.#open = { place, view, params };
      this.#opening = false;
      this.#outlet.replaceChildren(view.element);
      view.shown?.();
      this.#told.opened(place, view);
    } catch (fault) {
      if (turn !== this.#turn) return;
      this.#opening = false;
      this.#close();
      this.#told.failed(place, fault, () => this.#follow());
    }
  }

  #close() {
    const open = this.#open;
    this.#open = null;
    open?.view.close();
    this.#outlet.replaceChildren();
  }
}
