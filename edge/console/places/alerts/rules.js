/** Lists the rules with their health: whether each is in force, and why not. */

import { h, icon, show } from "../../dom.js";
import { moment } from "../../format.js";
import { passing } from "../../parts/again.js";
import { filterBar } from "../../parts/filters.js";
import { poll } from "../../parts/poll.js";
import { faulty, loading, nothing } from "../../parts/states.js";
import { table } from "../../parts/table.js";
import { time } from "../../parts/time.js";
import { heading, tool } from "../../parts/toolbar.js";
import { badge, rebadge } from "../../views/panel.js";
import { SEVERITIES } from "./list.js";
import { tabs } from "./tabs.js";

// The server's largest page, and as many as are listed.
const PAGE = 1_000;

// Between two looks at the rules, which others change as well (ms).
const LOOK = 5_000;

// The alerts actor reads a rule that was changed within a second; a busy one needs longer (ms).
const SETTLES = 15_000;

/** Whether a rule was changed so recently that the alerts actor may not have read it yet; `now` in ms. */
export const settling = ({ disabled_by: disabled, in_force: inForce, updated }, now) => !disabled && inForce === false && now - moment(updated) < SETTLES;

/** A rule's health as a badge: in force, about to be, disabled, not in force, or not known. */
export function healthBadge(rule, now = Date.now()) {
  const { disabled_by: disabled, in_force: inForce, reason } = rule;
  if (inForce) return badge("in force", "ok");
  if (disabled) return badge("disabled", "quiet", reason);
  if (settling(rule, now)) return badge("takes effect", "info", "The alerts actor reads it within a second or two.");
  return inForce === null ? badge("not known", "warn", "No alerts actor answers.") : badge("not in force", "bad", reason);
}

/** What the filter calls a rule's health. */
const standing = ({ disabled_by: disabled, in_force: inForce }) => (inForce ? "in_force" : disabled ? "disabled" : "not");

const COLUMNS = [
  { name: "name", title: "Rule", cell: ({ name }) => name, sort: ({ name }) => name },
  { name: "health", title: "Health", cell: (rule) => healthBadge(rule), sort: ({ in_force: inForce, disabled_by: disabled }) => (inForce ? 2 : disabled ? 1 : 0) },
  { name: "severity", title: "Severity", cell: ({ rule }) => (rule ? badge(rule.severity, (SEVERITIES[rule.severity] ?? SEVERITIES.info)[0]) : "–"), sort: ({ rule }) => rule?.severity ?? "" },
  { name: "source", title: "From", cell: ({ source }) => (source === "file" ? "rules file" : "API"), sort: ({ source }) => source, narrow: true },
  { name: "events", title: "Events", cell: ({ rule }) => (rule?.subjects ?? []).join(", ") || "–", narrow: true },
  { name: "updated", title: "Changed", cell: ({ updated, by }) => (updated ? h("span", {}, time(updated), by ? ` by ${by}` : "") : "–"), sort: ({ updated }) => updated ?? "", narrow: true },
];

function fileNote(file) {
  if (file?.in_force !== false) return null;
  return h("div.outcome.bad", { role: "alert" }, icon("alert"), h("div", {},
    h("strong", {}, `The rules file ${file.name} is not in force`),
    h("p", {}, "It has mistakes; the rules that it had before still apply. Mend the file, it is read again within two seconds:"),
    h("ul.mistakes", {}, ...file.mistakes.map((each) => h("li", {}, h("code", {}, each))))));
}

export function rules(context, params) {
  const { client, addressOf, navigate } = context;
  const head = heading("alert", "Alerts", {
    tools: [
      tool("Back-test all in force", "clock", () => navigate(addressOf("alerts", ["back-test"])), { wide: true }),
      tool("New rule", "plus", () => navigate(addressOf("alerts", ["new-rule"])), { wide: true }),
    ],
  });
  const count = badge("");
  head.badges.append(count);
  show(count, false);
  const note = h("div");
  const rows = table({ label: "Rules", columns: COLUMNS, key: ({ name, source }) => `${source} ${name}`, href: ({ name }) => addressOf("alerts", ["rules", name]) });
  const state = h("div", {}, loading("the rules"));
  let known = [];
  // The fault that is shown: drawn anew only where it changes, so that a click on its button is not lost.
  let told = null;
  const filters = filterBar([
    { name: "q", label: "Find a rule", kind: "search", wide: true },
    { name: "health", label: "Health", kind: "select", options: [["", "Every health"], ["in_force", "In force"], ["not", "Not in force"], ["disabled", "Disabled"]] },
  ], (values) => {
    context.mark(["rules"], values);
    draw();
  });
  filters.set(Object.fromEntries(params.query));
  const draw = () => {
    const { q, health } = filters.values;
    const shown = known.filter((each) => (!health || health === standing(each))
      && `${each.name} ${each.text ?? ""} ${JSON.stringify(each.rule ?? {})}`.toLowerCase().includes(q.toLowerCase()));
    rows.set(shown);
    const bad = known.filter((each) => !each.in_force && !each.disabled_by && !settling(each, context.now())).length;
    rebadge(count, bad ? `${bad} not in force` : `${known.filter((each) => each.in_force).length} in force`, bad ? "bad" : "ok");
    show(count, known.length > 0);
    state.replaceChildren(...(shown.length ? [] : [known.length
      ? nothing({ icon: "search", title: "No rule fits", text: "Others are there that the filter leaves out." })
      : nothing({ icon: "alert", title: "No rule yet", text: "A rule says of which events an alert is raised. Write one here, or name a file with CALLBOARD_ALERTS_RULES_FILE." })]));
  };
  const read = async () => {
    try {
      const answer = await client.get(`/rules?limit=${PAGE}`);
      [known, told] = [answer.rules, null];
      const away = answer.file === null ? h("div.outcome.warn", { role: "status" }, icon("alert"), h("div", {}, h("strong", {}, "No alerts actor answers"), h("p", {}, "Rules of its file are missing here, and no alert is raised. Start it: callboard actor alerts."))) : null;
      note.replaceChildren(...[away ?? fileNote(answer.file)].filter(Boolean));
      draw();
    } catch (fault) {
      if (known.length && passing(fault)) return;
      known = [];
      if (told === (told = `${fault.status} ${fault.message}`)) return;
      rows.set([]);
      state.replaceChildren(faulty(fault, "the rules", { right: "operate", again: read }));
    }
  };
  const polling = poll(read, LOOK);
  const end = client.onState(({ phase }) => phase === "live" && polling.again());
  return {
    element: h("section.page.alert-place", { id: "alerts" }, head.element, tabs(context, "rules"), note, filters.element, rows.element, state),
    title: "Rules",
    close() {
      end?.();
      polling.stop();
    },
  };
}
