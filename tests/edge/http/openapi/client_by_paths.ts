// Asks by paths, through openapi-fetch, with the types that openapi-typescript makes of the document by default.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [baseUrl, subject] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl });

const session = await client.POST("/callbacks/sessions", {
  body: { delivery_method: "polling", subjects: [subject!], events: null, name: "typescript" },
});
if (!session.data) throw new Error(JSON.stringify(session.error));
const created: components["schemas"]["CreatedSession"] = session.data;

const event: components["schemas"]["NewEvent"] = { subject: subject!, data: { n: 1 } };
const published = await client.POST("/events", { body: event });
if (!published.data) throw new Error(JSON.stringify(published.error));

const page = await client.GET("/callbacks/sessions/{session_id}/events", {
  params: { path: { session_id: created.session_id }, query: { wait: 20, limit: 1 } },
});
const refused = await client.GET("/callbacks/sessions", { params: { query: { limit: 0 } } });
console.log(JSON.stringify({
  id: published.data.events[0]?.id,
  read: page.data?.events.map((each) => each.id),
  refused: refused.error?.code,
  field: refused.error?.field,
}));
