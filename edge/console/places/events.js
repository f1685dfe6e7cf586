/** The place of the events: the whole stream that is kept, searched, filtered, compared, and live. */

import { h, icon, say, show } from "../dom.js";
import { number } from "../format.js";
import { query } from "../../client/http.js";
import { passing, retrying } from "../parts/again.js";
import { loading } from "../parts/states.js";
import { panel } from "../views/panel.js";
import { eventBar } from "./events/bar.js";
import { eventById } from "./events/chain.js";
import { Chips } from "./events/chips.js";
import { detailPanel } from "./events/detail.js";
import { foot, listCurl } from "./events/foot.js";
import { head } from "./events/head.js";
import { RowList } from "./events/list.js";
import { EventLog } from "./events/log.js";
import { noEvents } from "./events/nothing.js";
import { Pace } from "./events/pace.js";
import { isCursor } from "./events/place.js";
import { FIELDS, Filter } from "./events/query.js";

// Rows from an end at which more are read.
const NEAR = 60;
// What is held back while the list is paused; beyond that only the number of them is.
const WAITING = 5_000;
// A tab that is not looked at reads on for so long (ms).
const RESTING = 10_000;
// What is asked of the server where this page cannot keep up: the newest of each key, in so many writes a second.
const LESS = { conflate: true, max_rate: 5 };
const SLOWED = "This page could not keep up, so it asked the server for less: the newest event of each key, five times a second.";
const REFRESH = 500;

// In one stream a cursor names an event. In several it has a place in each, and which of them depends on the filter that the event was read by.
const nameOf = (event) => (event.cursor.startsWith("1-") ? event.cursor : event.id);

class EventsView {
  #context;
  #filter = new Filter();
  #subscription = null;
  #pending = [];
  #waiting = [];
  #held = 0;
  #paused = false;
  #stuck = true;
  #less = false;
  #overrun = false;
  #frame = 0;
  #stale = false;
  #fault = null;
  // What a fault that may pass has kept from being read.
  #unread = null;
  #opened = [{}];
  #rereading = retrying(() => this.#unread());
  #unseen = 0;
  #marked = null;
  #resting = null;
  #life = new AbortController();
  #timer;
  title = "Events";

  constructor(context, params) {
    this.#context = context;
    this.log = new EventLog((asked) => context.client.get(`/events${query(asked)}`), (what, count, oldest) => (what === "cut" ? this.#cut(count, oldest) : this.#told(what, count)));
    this.pace = new Pace(() => this.#shed());
    this.#build();
    const { signal } = this.#life;
    document.addEventListener("keydown", (press) => this.#key(press), { signal });
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    this.#timer = setInterval(() => this.#tellSoon(), REFRESH);
    this.ends = [context.store.watch("events", () => this.#tellSoon()), context.client.onState(({ phase }) => this.#connected(phase))];
    this.update(params);
    globalThis.callboard.events = this;
  }

  #build() {
    const { base } = this.#context.client;
    this.element = h("div.hosted", {});
    const root = h("section.panel.stream", { id: "stream", "aria-labelledby": "stream-title" });
    const { badges, tools, body } = panel(root, "stream", "Events");
    this.head = head(() => this.pause(!this.#paused));
    this.empty = noEvents(base);
    badges.append(this.head.badge, this.empty.badge);
    tools.append(...this.head.tools);
    this.bar = eventBar((values) => this.#refilter(values));
    this.chips = new Chips((type) => this.#toggle(type));
    this.foot = foot({ further: () => this.log.back(), jump: (value) => this.#jump(value), curl: () => listCurl(this.#context.client, this.log) });
    this.rows = new RowList({ entries: () => this.log.entries, choose: (entry) => this.#choose(entry), moved: () => this.#moved(), resized: () => this.#stuck && this.rows.foot() });
    this.caption = h("span");
    this.jump = h("button.jump", { type: "button", hidden: true, onclick: () => this.follow() }, icon("down"), this.caption);
    this.none = h("div.nothing", { hidden: true }, h("p", {}, "No event matches."), h("button.quiet", { type: "button", onclick: () => this.#go([], { demo: this.#filter.demo ? "1" : "" }) }, "Clear the filter"));
    this.wait = loading("events");
    this.slowed = h("p.slowed", { role: "status", hidden: true }, icon("info"), h("span", {}, SLOWED), h("button.quiet", { type: "button", onclick: () => this.#more() }, "Ask for all"));
    this.detail = detailPanel({
      base,
      token: () => this.#context.client.token,
      ask: (asked) => this.#context.client.get(`/events${query(asked)}`),
      close: () => this.#choose(null),
      only: (values) => this.#refilter({ ...this.#filter.values, ...values }),
      onward: (event) => this.#go([], { ...this.#filter.values, since: "", from: event.cursor }),
      around: (event) => this.#go([nameOf(event)], {}),
      open: (event) => this.#go([nameOf(event)], {}),
      mark: (event) => this.#mark(event),
      marked: () => this.#marked,
      link: (event) => new URL(this.#context.addressOf("events", [nameOf(event)]), location.href).href,
    });
    const column = h("div.column", {}, this.rows.element, ...this.empty.elements, this.none, this.wait, this.jump, this.foot.element);
    body.append(...this.bar.elements, this.slowed, this.chips.element, h("div.beside", {}, column, this.detail.element));
    this.element.append(root);
  }

  close() {
    this.#life.abort();
    clearInterval(this.#timer);
    clearTimeout(this.#resting);
    this.#rereading.stop();
    cancelAnimationFrame(this.#frame);
    this.#leave();
    for (const end of this.ends) end();
    delete globalThis.callboard.events;
  }

  /** Another address: a filter, an event (its cursor or id), or a place to begin at. */
  update({ path: [named], query: asked }) {
    this.#rereading.stop();
    const values = Object.fromEntries(FIELDS.map((name) => [name, asked.get(name) ?? ""]));
    this.#filter = new Filter(values);
    this.bar.set(values);
    const cursor = [asked.get("from"), named, asked.get("at")].find((each) => each && isCursor(each)) ?? null;
    const id = asked.get("id") ?? (named && !cursor ? named : null);
    if (id) return this.#openById(id);
    if (cursor) return this.#open({ cursor, onward: Boolean(asked.get("from")) }, Boolean(named));
    if (this.#filter.since) return this.#open({ near: this.#filter.since, onward: true });
    return this.#open({ near: asked.get("at") });
  }

  async #openById(id) {
    let event = null;
    try {
      event = await eventById((asked) => this.#context.client.get(`/events${query(asked)}`), id);
      this.#rereading.done();
    } catch (fault) {
      if (passing(fault)) return this.#readAgain(fault, () => this.#openById(id));
    }
    if (event) return this.#go([event.cursor], {}, true);
    this.#context.toast(`No event with the id ${id} is kept.`, "warn");
    return this.#open({});
  }

  // `chosen`: the event whose cursor the place is shall be opened.
  async #open(place, chosen = false) {
    this.#leave();
    this.#opened = [place, chosen];
    this.#fault = null;
    this.chips.clear();
    this.#stuck = !place.cursor && !place.near;
    this.#unseen = 0;
    this.rows.chosen = this.rows.current = null;
    show(this.wait, true);
    this.#tell();
    await this.log.open(this.#filter, place);
    show(this.wait, false);
    this.#subscribe();
    if (chosen) await this.#chooseAt(place.cursor);
    else if (this.#stuck) this.rows.foot();
    else if (!place.onward && this.log.at) this.rows.show(this.log.find(this.log.at));
    this.#tell();
  }

  async #chooseAt(cursor) {
    const { log } = this;
    const turn = log.entries;
    let event = null;
    try {
      event = await log.eventAt(cursor);
    } catch (fault) {
      this.#readAgain(fault, () => this.#chooseAt(cursor));
    }
    const entry = log.entries.find((each) => each.event && each.event.id === event?.id);
    if (entry && this.log.entries === turn) this.#choose(entry, true);
  }

  #readAgain(fault, read) {
    this.#unread = read;
    this.#rereading.after(fault);
  }

  // The list anew where it has nothing yet, else what it lacks where it is looked at.
  #reread(place, chosen) {
    if (!this.log.entries.length) return this.#open(place, chosen);
    this.#fault = null;
    if (this.log.live && !this.#subscription) this.#subscribe();
    this.#moved();
  }

  #told(what, count) {
    if (count && what !== "fault") show(this.wait, false);
    this.#fault = what === "fault" ? count : null;
    if (what === "fault") this.#readAgain(count, () => this.#reread(...this.#opened));
    else this.#rereading.done();
    const { entries } = this.log;
    if (what === "reset") this.rows.element.scrollTop = 0;
    if (what === "back") {
      this.chips.count(entries.slice(0, count));
      if (this.#stuck) this.rows.foot();
      else this.rows.shift(count);
    }
    if (what === "ahead") {
      if (count) this.chips.count(entries.slice(-count));
      if (this.log.live) this.#subscribe();
      this.rows.draw();
    }
    // A view that is not full has room for more.
    if (what === "back" && entries.length * this.rows.height < this.rows.element.clientHeight && !this.log.atStart && !this.#filter.narrows && !this.log.busy.back) this.log.back();
    this.#tell();
  }

  #cut(entries, oldest) {
    this.chips.count(entries, -1);
    // What is seen stays where it is, and there is room to scroll on.
    if (oldest && !this.#stuck) this.rows.shift(-entries.length);
  }

  // What comes from now on, behind the last one that is here.
  #subscribe() {
    this.#leave();
    if (!this.log.live || document.hidden || this.#fault) return;
    const { client } = this.#context;
    const read = { ...this.#filter.live(), ...(this.#less ? LESS : {}), cursor: this.log.to.cursor };
    this.#subscription = client.subscribe(read, (event) => this.#take(event));
    this.#subscription.onNotice(({ control }) => {
      if (control === "gap") this.#note("Events are missing here: they were no longer kept when this page came back for them.", "bad");
    });
    this.#subscription.onState(({ phase, code, reason }) => {
      if (phase === "refused") this.#fault = Object.assign(new Error(reason), { status: 403, code });
    });
  }

  #leave() {
    this.#subscription?.close();
    this.#subscription = null;
    this.#pending = [];
  }

  #take(event) {
    this.pace.count(1, Date.now());
    // A page that draws nothing keeps no heap of what it should have drawn: it reads on from where its list ends.
    if (this.#pending.length >= WAITING) {
      this.#leave();
      this.#overrun = true;
    }
    this.#pending.push(event);
    this.#drawSoon();
  }

  #drawSoon() {
    this.#frame ||= requestAnimationFrame((now) => this.#drawFrame(now));
  }

  // Figures are written in a frame, before the rows: written between two they would be laid out on their own.
  #tellSoon() {
    this.#stale = true;
    this.#drawSoon();
  }

  /** All that came since the last frame, in one go. */
  #drawFrame(now) {
    this.#frame = 0;
    const events = this.#pending.splice(0);
    if (this.#stale) this.#tell();
    if (this.#overrun) return this.#catchUp();
    if (!events.length) return;
    if (this.#paused) {
      this.#held += events.filter((event) => this.#filter.takes(event)).length;
      if (this.#waiting.length < WAITING) this.#waiting.push(...events);
      return;
    }
    const added = this.log.push(events);
    this.chips.count(this.log.entries.slice(this.log.entries.length - added));
    if (this.#stuck) this.rows.foot();
    else {
      this.#unseen += added;
      this.rows.draw();
    }
    // By the next frame layout and painting have had their turn, and are counted too.
    requestAnimationFrame((next) => this.pace.frame(next - now));
  }

  // More came than was kept: who follows goes on at the newest, anybody else by pages from where the list ends.
  #catchUp() {
    this.#overrun = false;
    this.log.live = false;
    this.#leave();
    if (this.#stuck) this.#open({ floor: this.log.floor });
    else this.log.ahead();
  }

  #note(text, tone) {
    this.log.note(text, tone);
    if (this.#stuck) this.rows.foot();
    else this.rows.draw();
  }

  #shed() {
    if (this.#less) return;
    this.#less = true;
    this.#note("From here on the server leaves out events that newer ones supersede: this page could not keep up.", "warn");
    this.#subscribe();
    this.#tell();
  }

  #more() {
    this.#less = false;
    this.#subscribe();
    this.#tell();
  }

  // A tab that nobody looks at rests; when it is looked at again it goes on where it was, or at the newest.
  #look() {
    clearTimeout(this.#resting);
    if (document.hidden) this.#resting = setTimeout(() => this.#leave(), RESTING);
    else if (!this.#subscription && this.log.live) this.#catchUp();
  }

  #connected(phase) {
    if (phase === "live") {
      if (this.left) this.#note(`Connected again after ${((Date.now() - this.left) / 1000).toFixed(1)} s, resumed where it broke off.`, "info");
      this.left = 0;
      if (this.#fault) this.#open(this.#filter.since ? { near: this.#filter.since, onward: true } : {});
    } else if ((phase === "waiting" || phase === "offline") && !this.left && this.log.entries.length) {
      this.left = Date.now();
      this.#note(`Connection lost: ${this.#context.client.state.reason}.`, "warn");
    }
  }

  #moved() {
    // The list that was emptied has moved, and nobody's hand.
    if (this.log.opening) return;
    this.#stuck = this.log.live && this.rows.atFoot;
    if (this.#stuck) this.#unseen = 0;
    const { top, element, height } = this.rows;
    if (top < NEAR) this.log.back();
    if (!this.log.live && top + element.clientHeight / height > this.log.entries.length - NEAR) this.log.ahead();
    this.#tell();
  }

  follow() {
    if (this.#paused) this.pause(false);
    if (!this.log.live) return this.#go([], { ...this.#filter.values, since: "" });
    this.#stuck = true;
    this.#unseen = 0;
    this.rows.foot();
    return this.#tell();
  }

  pause(wish) {
    this.#paused = wish;
    if (!wish) {
      if (this.#waiting.length >= WAITING) this.#catchUp();
      else this.#pending.unshift(...this.#waiting);
      this.#waiting = [];
      this.#held = 0;
      this.#drawSoon();
    }
    this.#tell();
  }

  // To a sequence of the only stream, else to a time (ms).
  #jump(value) {
    const { log } = this;
    if (value >= log.rail[1]) return this.follow();
    return this.#go([], { ...this.#filter.values, since: "", at: log.numbered ? log.cursorAt(value) : new Date(value).toISOString() }, true);
  }

  #go(path, values, replace = false) {
    this.#context.navigate(this.#context.addressOf("events", path, values), { replace });
  }

  #refilter(values) {
    this.#go([], Object.fromEntries(FIELDS.map((name) => [name, values[name]])), true);
  }

  #mark(event) {
    this.#marked = event;
    this.rows.marked = event;
    this.rows.draw();
    this.detail.redraw();
    this.#context.toast("Marked. Choose another event to compare it with this one.", "info");
  }

  #choose(entry, scroll = false) {
    const again = entry && entry === this.rows.chosen && !scroll;
    const chosen = again ? null : entry;
    this.rows.chosen = chosen?.event ? chosen : null;
    this.detail.open(this.rows.chosen?.event ?? null);
    if (chosen) {
      this.#stuck = false;
      this.rows.current = chosen;
      if (scroll) this.rows.show(this.log.entries.indexOf(chosen), true);
    }
    this.rows.draw();
    this.#tell();
    if (!chosen && this.rows.current) this.rows.focus(this.rows.current);
  }

  #key(press) {
    if (press.ctrlKey || press.metaKey || press.altKey || document.querySelector("dialog[open]")) return;
    if (press.key === "Escape" && this.detail.event && !press.target.matches("input")) return this.#choose(null);
    if (press.target.matches?.("input, select, textarea")) return;
    if (press.key === "p") this.pause(!this.#paused);
    else if (press.key === "f") this.bar.focus();
  }

  #tell() {
    this.#stale = false;
    const { log, rows } = this;
    const shown = log.entries.length;
    this.head.tell({ paused: this.#paused, held: this.#held, count: shown, live: log.live, rate: this.pace.rate(Date.now()) });
    const bad = this.#fault?.status >= 400 && ![401, 403, 503].includes(this.#fault.status) ? this.#fault : null;
    this.bar.refuse(bad);
    show(this.slowed, this.#less);
    this.chips.tell(this.#filter.types, shown);
    const loadingNow = (!this.wait.hidden && shown === 0) || log.busy.back;
    const situation = this.#context.store.situation("events");
    this.empty.tell(situation, shown === 0 && !loadingNow && !bad && (!this.#filter.narrows || Boolean(situation)));
    show(this.none, shown === 0 && !loadingNow && Boolean(bad || this.#filter.narrows) && !situation);
    say(this.none.firstChild, bad ? "Nothing was read, because the server refuses the filter." : "No event matches.");
    show(rows.element, shown > 0);
    show(this.jump, (this.#unseen > 0 && !this.#stuck) || (!log.live && shown > 0) || (this.#paused && this.#held > 0));
    say(this.caption, log.live || this.#paused ? `${number(this.#paused ? this.#held : this.#unseen)} new` : "Go to now");
    this.foot.tell(log, this.#stuck ? null : log.entries[rows.top], Boolean(bad));
  }

  #toggle(type) {
    const { types, values } = this.#filter;
    const next = !type ? [] : types.includes(type) ? types.filter((each) => each !== type) : [...types, type];
    this.#refilter({ ...values, type: next.join(",") });
  }
}

export default {
  styles: ["/console/places/events.css"],
  open: (context, params) => new EventsView(context, params),
};
