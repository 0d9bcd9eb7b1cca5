// One scenario a run, named on the command line; the connection comes from libpq's variables. Prints one JSON object.
import { readFileSync } from "node:fs";
import pg from "pg";

const config = {
  host: process.env.PGHOST,
  port: Number(process.env.PGPORT),
  database: process.env.PGDATABASE,
  user: process.env.PGUSER,
  password: process.env.PGPASSWORD,
  ssl: { ca: readFileSync(process.env.PGSSLROOTCERT, "utf8") },
};

const failure = (error) => ({ code: error.code, message: error.message, detail: error.detail, hint: error.hint });

const scenarios = {
  async simple(client) {
    const { rows, fields } = await client.query("SELECT id, name FROM customers ORDER BY id LIMIT 2");
    return { rows, fields: fields.map((f) => f.name) };
  },
  async prepared(client) {
    const query = { name: "by-id", text: "SELECT item FROM orders WHERE id = $1" };
    const rows = [];
    for (const id of [1, 2, 3]) rows.push((await client.query({ ...query, values: [id] })).rows[0].item);
    return { rows };
  },
  async transaction(client) {
    await client.query("BEGIN");
    const before = (await client.query("SELECT count(*)::int AS n FROM customers")).rows[0].n;
    const denied = await client.query("DELETE FROM customers").then(() => null, failure);
    const aborted = await client.query("SELECT 1").then(() => null, failure);
    await client.query("ROLLBACK");
    const after = (await client.query("SELECT count(*)::int AS n FROM customers")).rows[0].n;
    return { before, denied, aborted, after };
  },
  async masked(client) {
    const text = "SELECT email, card, lower(email) AS e FROM customers ORDER BY id LIMIT 1";
    const simple = (await client.query(text)).rows[0];
    const extended = (await client.query({ text: text.replace("LIMIT 1", "LIMIT $1"), values: [1] })).rows[0];
    const binary = (await client.query({ text: text.replace("LIMIT 1", "LIMIT $1"), values: [1], binary: true })).rows[0];
    return { simple, extended, binary };
  },
  async denied(client) {
    const error = await client.query({ text: "DELETE FROM customers WHERE id = $1", values: [1] }).then(() => null, failure);
    const still = (await client.query("SELECT 1 AS one")).rows[0].one;
    return { error, still };
  },
  async syntax(client) {
    const error = await client.query("SELEC 1").then(() => null, failure);
    const missing = await client.query("SELECT * FROM orders WHERE nothing = 1").then(() => null, failure);
    return { error, missing, still: (await client.query("SELECT 1 AS one")).rows[0].one };
  },
  async pipeline(client) {
    // node-postgres queues; all three go out without waiting for this program.
    const results = await Promise.allSettled([
      client.query("SELECT 1 AS n"),
      client.query("DELETE FROM customers"),
      client.query("SELECT 2 AS n"),
    ]);
    return results.map((r) => (r.status === "fulfilled" ? r.value.rows[0].n : r.reason.code));
  },
  async held(client) {
    const notices = [];
    client.on("notice", (n) => notices.push({ code: n.code, message: n.message, detail: n.detail, hint: n.hint }));
    const query = { text: "UPDATE held SET n = $1 WHERE id = $2 RETURNING n", values: [21, 21] };
    const [ran, after] = await Promise.all([client.query(query), client.query("SELECT n FROM held WHERE id = 21")]);
    return { notices, rows: ran.rows, after: after.rows };
  },
  async denied_hold(client) {
    const query = { text: "UPDATE held SET n = $1 WHERE id = $2", values: [22, 22] };
    const error = await client.query(query).then(() => null, failure);
    return { error, still: (await client.query("SELECT 1 AS one")).rows[0].one };
  },
  async rows(client) {
    const { rows } = await client.query("SELECT n FROM generate_series(1, 100000) n");
    return { count: rows.length, last: rows.at(-1).n };
  },
};

const client = new pg.Client(config);
try {
  await client.connect();
  console.log(JSON.stringify({ result: await scenarios[process.argv[2]](client) }));
} catch (error) {
  console.log(JSON.stringify({ refused: failure(error) }));
} finally {
  await client.end().catch(() => {});
}
