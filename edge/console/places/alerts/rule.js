/** The page of one rule, or of a new one: its text with what is wrong in it, its health and versions, and trying it. */

import { h, icon, say, show } from "../../dom.js";
import { confirm } from "../../parts/dialog.js";
import { faulty, kindOf, loading, sentence } from "../../parts/states.js";
import { time } from "../../parts/time.js";
import { heading } from "../../parts/toolbar.js";
import { rebadge } from "../../views/panel.js";
import { remove, sendText } from "./api.js";
import { ruleEditor } from "./editor.js";
import { healthBadge, settling } from "./rules.js";
import { backtestCard, testCard } from "./trials.js";

const TEMPLATE = `name: hot
subjects: [metric.*.temperature]
when: data.celsius > 80
severity: warning
title: "{entity} is hot"
message: "{data.celsius} °C"
for: 2m
actions:
  - {label: Runbook, url: "https://example.com/runbooks/hot"}
`;

// Between two looks at a rule: just changed and not in force yet, or else, since others change it as well (ms).
const SOON = 1_000;
const LATER = 10_000;

// What a rule need not say.
const SELF_EVIDENT = { enabled: true, for: 0, lateness: 0, threshold: { count: 1, within: 60 } };

/** A rule of the file as text: the actor tells what it is in force as, and not how it was written. */
function written(rule) {
  const empty = (value) => value === null || value === "" || (Array.isArray(value) && !value.length);
  return Object.entries(rule)
    .filter(([name, value]) => name !== "faults" && !empty(value) && JSON.stringify(SELF_EVIDENT[name]) !== JSON.stringify(value))
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`).join("");
}

/** A text as somebody can read it: JSON that was sent in one line gets its lines. */
function readable(text) {
  if (!text.startsWith("{") || text.trim().includes("\n")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const of = (rule) => rule?.source === "file";

/** What is said above a rule's text: where it stands, how to enable it, why it is not in force, or its version. */
function noteOf(rule, now) {
  if (of(rule)) return "It stands in the rules file of the alerts actor and is changed there, not here. Its text can be tried, and saved under another name by “New rule”.";
  if (rule.disabled_by === "text") return "It is disabled by “enabled: false” in its text. Remove that and save to enable it.";
  if (rule.disabled_by) return "It is disabled. Press Enable, and it is in force within a second.";
  return rule.reason && !settling(rule, now) ? sentence(rule.reason) : `Version ${rule.version}${rule.by ? `, by ${rule.by}` : ""}.`;
}

/** Trying all the rules that are in force, without a text. */
export function allRules(context) {
  const head = heading("clock", "Back-test of all rules in force", { back: { href: context.addressOf("alerts", ["rules"]), label: "Rules" } });
  const backtest = backtestCard(context, () => null);
  return {
    element: h("section.page.alert-place", { id: "alerts" }, head.element, backtest.element, testCard(context, () => null)),
    title: "Back-test · Rules",
    close: backtest.close,
  };
}

export function rule(context, { path: [, name = ""] }) {
  const { client, addressOf, navigate, toast } = context;
  const anew = !name;
  const path = `/rules/${encodeURIComponent(name)}`;
  const head = heading("alert", anew ? "New rule" : name, { back: { href: addressOf("alerts", ["rules"]), label: "Rules" } });
  const health = h("span.badge");
  head.badges.append(health);
  show(health, false);
  const outside = h("div");
  const note = h("p.note-line", { role: "status" });
  const editor = ruleEditor(context, { changed: () => tell() });
  const save = h("button.primary", { type: "button", onclick: () => keep() }, anew ? "Create" : "Save");
  const toggle = h("button.quiet", { type: "button", onclick: () => change(stored.enabled ? "disable" : "enable") }, h("span", {}, ""));
  const discard = h("button.quiet", { type: "button", onclick: () => drop() }, icon("bin"), h("span", {}, "Delete"));
  const again = h("button.quiet", { type: "button", hidden: true, onclick: () => read(true) }, icon("restart"), h("span", {}, "Load how it is now"));
  const fault = h("div.answer", { "aria-live": "assertive" });
  const versions = h("ol.steps.versions");
  const kept = h("section.card", { "aria-label": "Versions", hidden: true }, h("h3", {}, "Versions"), versions);
  const backtest = backtestCard(context, () => editor.text);
  const whole = h("div.rule-page", { hidden: true },
    h("section.card.wide", { "aria-label": "Rule" }, h("div.inside", {}, note, editor.element, fault, h("div.row-of-buttons", {}, save, toggle, discard, again))),
    backtest.element, h("div.column", {}, testCard(context, () => editor.text), kept));
  let stored = null;
  let was = "";
  // The version that the text in the editor is of: a change names it, so that nobody's newer one is overwritten.
  let base = null;
  // The versions that are listed, so that a look that finds nothing new leaves their buttons as they are.
  let listed = "";
  let timer = null;
  let closed = false;

  const tell = () => {
    save.disabled = editor.valid !== true || of(stored) || (!anew && editor.text === was);
    save.title = of(stored) ? "It stands in the rules file" : editor.valid === false ? "Mend the mistakes first" : "";
  };

  const draw = (found) => {
    stored = found;
    const text = healthBadge(found, context.now());
    rebadge(health, text.textContent, text.className.replace("badge ", ""));
    show(health, true);
    say(note, noteOf(found, context.now()));
    say(toggle.firstElementChild, found.enabled ? "Disable" : "Enable");
    for (const each of [toggle, discard, save]) show(each, !of(found));
    // Its text disables it, so that no button can enable it.
    if (found.disabled_by === "text") show(toggle, false);
    show(whole, true);
    outside.replaceChildren();
  };

  const refuse = (problem) => {
    const title = { rule_changed: "Somebody else has changed it meanwhile", rule_exists: "There is a rule of this name", bad_rule: "The rule has a mistake", rule_in_file: "The rules file has a rule of this name" }[problem.code] ?? "It was not saved";
    const text = kindOf(problem) === "denied" ? "This needs the right to operate." : kindOf(problem) === "offline" ? "The server cannot be reached; nothing is lost here. Try again." : sentence(problem.message);
    fault.replaceChildren(h("div.outcome.bad", {}, icon("alert"), h("div", {}, h("strong", {}, title), h("p", {}, text))));
    show(again, problem.code === "rule_changed");
  };

  const readVersions = async () => {
    if (of(stored)) return;
    const answer = await client.get(`${path}/versions`).catch(() => ({ versions: [] }));
    const now = JSON.stringify([answer.versions.map(({ version }) => version), editor.text]);
    if (now === listed) return;
    listed = now;
    versions.replaceChildren(...answer.versions.map(({ version, at, by, text, enabled }) => h("li.quiet", {},
      h("div", {}, h("p", {}, h("strong", {}, `Version ${version}`), by && ` by ${by}`, !enabled && " · disabled"), time(at)),
      h("button.quiet", { type: "button", disabled: readable(text) === editor.text, onclick: () => load(readable(text)) }, h("span", {}, "Load into the editor")))));
    show(kept, answer.versions.length > 0);
  };
  const load = (text) => {
    editor.set(text);
    editor.check();
  };

  /** `over` replaces what somebody has typed. */
  const read = async (over = false) => {
    try {
      const found = await client.get(path);
      const text = readable(found.text ?? written(found.rule ?? {}));
      if (closed) return;
      const edited = stored !== null && editor.text !== was;
      if (!edited) base = found.version;
      if (over || stored === null || (!edited && text !== was)) {
        base = found.version;
        was = text;
        load(text);
        fault.replaceChildren();
        show(again, false);
      }
      draw(found);
      // What was changed a moment ago is in force within a second or two.
      clearTimeout(timer);
      timer = setTimeout(look, settling(found, context.now()) ? SOON : LATER);
      await readVersions();
    } catch (problem) {
      if (closed) return;
      if (stored) {
        if (problem.status === 404) say(note, "Somebody has deleted it. Its text is still here, to be created anew by “New rule”.");
        else {
          clearTimeout(timer);
          timer = setTimeout(look, LATER);
        }
        return;
      }
      outside.replaceChildren(faulty(problem, problem.status === 404 ? `rule ${name}` : "the rule", { right: "operate", again: () => read() }));
    }
  };

  function look() {
    if (document.hidden) timer = setTimeout(look, LATER);
    else read();
  }

  const keep = async () => {
    save.disabled = true;
    fault.replaceChildren();
    const text = editor.text;
    try {
      const found = anew ? await sendText(context, "POST", "/rules", text) : await sendText(context, "PUT", path, text, base);
      was = text;
      base = found.version;
      toast(anew ? `The rule ${found.name} is in force within a second.` : `Saved as version ${found.version}; in force within a second.`);
      if (anew) return navigate(addressOf("alerts", ["rules", found.name]), { replace: true });
      draw({ ...found, in_force: found.in_force ?? !found.disabled_by });
      readVersions();
      // What is in force is told a moment later.
      timer = setTimeout(look, 1_500);
    } catch (problem) {
      refuse(problem);
    }
    tell();
  };
  const change = async (what) => {
    try {
      const found = await client.post(`${path}/${what}`, {}, { headers: { "If-Match": `"${base}"` } });
      base = found.version;
      toast(what === "enable" ? `${name} is enabled.` : `${name} is disabled, and its alerts are resolved.`);
      await read();
      timer = setTimeout(look, 1_500);
    } catch (problem) {
      refuse(problem);
    }
  };
  const drop = async () => {
    if (!(await confirm(`Delete the rule ${name}?`, { text: "Its alerts are resolved. Its versions are gone with it.", action: "Delete", danger: true }))) return;
    try {
      await remove(context, path, base);
      toast(`The rule ${name} is deleted.`);
      navigate(addressOf("alerts", ["rules"]), { replace: true });
    } catch (problem) {
      refuse(problem);
    }
  };

  if (anew) {
    for (const each of [toggle, discard]) show(each, false);
    say(note, "YAML or JSON. It is checked while you type; try it on what is stored before you create it.");
    show(whole, true);
    load(TEMPLATE);
  } else {
    outside.replaceChildren(loading("the rule"));
    read();
  }
  tell();
  const end = client.onState(({ phase }) => phase === "live" && !anew && read());
  return {
    element: h("section.page.alert-place", { id: "alerts" }, head.element, outside, whole),
    title: `${anew ? "New rule" : name} · Rules`,
    close() {
      closed = true;
      end?.();
      clearTimeout(timer);
      editor.close();
      backtest.close();
    },
  };
}
