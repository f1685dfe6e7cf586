/** The filter of the events as fields, and what the server says of it where it is wrong. */

import { h, say, show } from "../../dom.js";
import { filterBar } from "../../parts/filters.js";
import { sentence } from "../../parts/states.js";

const FIELDS = [
  { name: "q", label: "Search events", kind: "search", placeholder: "Search all text", wide: true },
  { name: "subject", label: "Subject pattern", placeholder: "Subject: job.>" },
  { name: "type", label: "Event types", placeholder: "Type: progress" },
  { name: "filter", label: "Filter in CEL", placeholder: "CEL: data.progress > 0.5", wide: true },
  { name: "since", label: "From", kind: "time" },
  { name: "demo", label: "Demo statistics", kind: "flag" },
];

/** A time as a field of the viewer's own zone has it. */
const local = (iso) => {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? "" : new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
};

/** `changed(values)` is called when a field was. Returns `{ elements, set(values), refuse(fault), focus() }`. */
export function eventBar(changed) {
  const bar = filterBar(FIELDS, (values) => changed({ ...values, since: values.since && new Date(values.since).toISOString() }));
  const refused = h("p.refused", { role: "alert", hidden: true });
  return {
    elements: [bar.element, refused],
    set: (values) => bar.set({ ...values, since: values.since && local(values.since) }),
    focus: () => bar.field("q").focus(),
    refuse(fault) {
      show(refused, Boolean(fault));
      say(refused, fault ? sentence(fault.message) : "");
      bar.field("filter").setAttribute("aria-invalid", String(fault?.code === "bad_filter"));
      bar.field("subject").setAttribute("aria-invalid", String(fault?.code === "bad_pattern"));
    },
  };
}
