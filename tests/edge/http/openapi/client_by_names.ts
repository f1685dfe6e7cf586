// Calls ten operations by their names, as @hey-api/openapi-ts makes functions of them by default.
import {
  changeSession,
  checkReadiness,
  createSession,
  deleteSession,
  listSchemas,
  listSessions,
  pollSession,
  publishEvents,
  readEvents,
  readMe,
  readSession,
  readSessionStats,
} from "./client/index.js";
import { client } from "./client/client.gen.js";

const [baseUrl, subject] = process.argv.slice(2);
client.setConfig({ baseUrl, throwOnError: true });

const ready = await checkReadiness();
const me = await readMe();
const types = await listSchemas();
const created = await createSession({ body: { delivery_method: "polling", subjects: [subject!] } });
const session_id: string = created.data!.session_id;
const changed = await changeSession({ path: { session_id }, body: { name: "typescript" } });
const published = await publishEvents({ body: { subject: subject!, data: { n: 1 } } });
const page = await pollSession({ path: { session_id }, query: { wait: 20, limit: 1 } });
const past = await readEvents({ query: { subjects: subject!, last: 1 } });
const stats = await readSessionStats({ path: { session_id } });
const read = await readSession({ path: { session_id } });
const gone = await deleteSession({ path: { session_id } });
const refused = await listSessions({ query: { limit: 0 }, throwOnError: false });
console.log(JSON.stringify({
  ready: ready.data?.status,
  reads: me.data?.read,
  types: types.data!.types.length,
  name: changed.data?.name,
  same: read.data?.session_id === session_id && stats.data?.session_id === session_id,
  id: published.data?.events[0]?.id,
  read: page.data?.events.map((each) => each.id),
  past: past.data?.events.map((each) => each.id),
  gone: gone.response?.status,
  refused: refused.error && "code" in refused.error ? refused.error.code : null,
}));
