/** A text editor for a rule: numbers its lines, has it checked by the server while somebody types, and shows each mistake at its line. */

import { h, say, show } from "../../dom.js";
import { retrying } from "../../parts/again.js";
import { validate } from "./api.js";

// Somebody who types has paused (ms).
const PAUSED = 400;

/** Returns `{ element, text, set(text), valid, rule, check() }`; `changed()` is called when any of them is another. */
export function ruleEditor(context, { readonly = false, changed = () => {} } = {}) {
  const gutter = h("div.gutter", { "aria-hidden": "true" });
  const area = h("textarea", { spellcheck: "false", wrap: "off", rows: 16, "aria-label": "The rule, in YAML", "aria-describedby": "mistakes", readonly, oninput: typed, onscroll: () => (gutter.scrollTop = area.scrollTop), onkeydown: indent });
  const verdict = h("p.verdict", { role: "status" });
  const list = h("ol.mistakes", { id: "mistakes" });
  const element = h("div.rule-editor", {}, h("div.paper", {}, gutter, area), verdict, list);
  let timer = null;
  let turn = 0;
  const rechecking = retrying(() => check());
  const state = { valid: null, rule: null, mistakes: [] };

  const number = () => {
    const lines = area.value.split("\n").length;
    const wrong = new Set(state.mistakes.map(({ line }) => line));
    if (gutter.childElementCount !== lines) gutter.replaceChildren(...Array.from({ length: lines }, (_, at) => h("span", {}, String(at + 1))));
    [...gutter.children].forEach((each, at) => each.classList.toggle("wrong", wrong.has(at + 1)));
    gutter.scrollTop = area.scrollTop;
  };

  const goTo = ({ line, column }) => {
    const before = area.value.split("\n").slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    const at = before + Math.max(0, column - 1);
    area.focus();
    area.setSelectionRange(at, at);
  };

  const draw = () => {
    const { valid, mistakes, rule } = state;
    area.setAttribute("aria-invalid", String(valid === false));
    say(verdict, valid === null ? "" : valid ? `This is a valid rule: ${rule.name}.` : `${mistakes.length} ${mistakes.length === 1 ? "mistake" : "mistakes"}`);
    verdict.className = `verdict ${valid ? "ok" : valid === false ? "bad" : ""}`;
    list.replaceChildren(...mistakes.map((each) => h("li", {},
      each.line ? h("button.where", { type: "button", onclick: () => goTo(each) }, `line ${each.line}`) : null,
      h("span", {}, each.field && h("code", {}, each.field), each.field && ": ", each.reason))));
    show(list, mistakes.length > 0);
    number();
  };

  const check = async () => {
    clearTimeout(timer);
    const mine = (turn += 1);
    try {
      if (!area.value.trim()) Object.assign(state, { valid: null, rule: null, mistakes: [] });
      else {
        const found = await validate(context, area.value);
        if (mine !== turn) return;
        Object.assign(state, found);
      }
      rechecking.done();
      draw();
    } catch (fault) {
      if (mine !== turn) return;
      rechecking.after(fault);
      Object.assign(state, { valid: null, rule: null, mistakes: [] });
      draw();
      say(verdict, fault.status === 403 ? "It cannot be checked: this needs the right to operate." : `It could not be checked: ${fault.status ? fault.message : "the server cannot be reached"}.`);
    }
    changed();
  };

  function typed() {
    number();
    state.valid = null;
    changed();
    rechecking.stop();
    clearTimeout(timer);
    timer = setTimeout(check, PAUSED);
  }

  /** Tab goes on to the next control, as everywhere; Enter keeps the indentation. */
  function indent(press) {
    if (press.key !== "Enter" || press.shiftKey || press.ctrlKey || press.isComposing) return;
    const before = area.value.slice(0, area.selectionStart);
    const [space] = /^[ ]*/.exec(before.slice(before.lastIndexOf("\n") + 1));
    if (!space) return;
    press.preventDefault();
    area.setRangeText(`\n${space}`, area.selectionStart, area.selectionEnd, "end");
    typed();
  }

  draw();
  return {
    element,
    check,
    get text() {
      return area.value;
    },
    get valid() {
      return state.valid;
    },
    get rule() {
      return state.rule;
    },
    set(text) {
      area.value = text;
      number();
    },
    close() {
      turn += 1;
      clearTimeout(timer);
      rechecking.stop();
    },
  };
}
