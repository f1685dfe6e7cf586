// Reads a session's events with the client as an npm package has it: node javascript.mjs <url> <entity> <transport> <cursor> <count>
import { connect } from "callboard-client";

const [, , url, entity, transport, cursor, count] = process.argv;
const board = connect(url, { subjects: [`job.${entity}.>`], transport, cursor });
const seen = [];
for await (const event of board) {
  seen.push(event.data.n);
  if (seen.length === Number(count)) break;
}
const { transport: by } = board.state;
const published = await board.publish(`job.${entity}.output`, { n: 100 });
board.close();
console.log(JSON.stringify({ seen, cursor: board.cursor, transport: by, published, stats: board.stats }));
