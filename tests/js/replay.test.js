/** What the subscriber asks, what it takes for an answer, and what it does without a socket. */

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { test } from "node:test";

import { subscribe } from "../../clients/javascript/src/index.js";
import { connected, listener, range, start, until } from "./server.js";

const CHANNEL = "progress:1";

/** A listener whose replay has the form of PROTOCOL.md; it counts what it is told. */
function reader(t, server, options = {}) {
  const seen = listener(t, server);
  seen.snapshots = [];
  seen.options = {
    ...seen.options,
    after: null,
    replay: server.replayWithState(CHANNEL),
    onSnapshot: (snapshot) => seen.snapshots.push(snapshot),
    ...options,
  };
  return seen;
}

/** Let go of the socket, as a proxy does that blocks it, until the function it returns is called. */
function block(server) {
  const refuse = (socket) => socket.terminate();
  server.listener.prependListener("connection", refuse);
  for (const socket of server.sockets) socket.terminate();
  return () => server.listener.off("connection", refuse);
}

test("to join takes one answer: the state of all bars, and the last messages", async (t) => {
  const server = await start(t);
  for (const task of ["core-1", "core-2"])
    for (let step = 1; step <= 200; step++)
      server.store(CHANNEL, { kind: "progress", task, current: step, total: 200 });
  server.store(CHANNEL, { kind: "progress", current: 1, total: 2 });
  const seen = reader(t, server);
  subscribe(seen.options);
  await connected(seen);
  assert.deepEqual(server.replays, [[CHANNEL, null, ""]]);
  assert.deepEqual(seen.numbers, range(302, 401));
  const [{ state, seq }] = seen.snapshots;
  assert.equal(seq, 401);
  assert.equal(state.run.current, 1);
  assert.deepEqual(state.tasks.map(({ task, current }) => [task, current]), [
    ["core-1", 200],
    ["core-2", 200],
  ]);
  server.publish(CHANNEL);
  await until(() => seen.numbers.includes(402));
  assert.equal(server.replays.length, 1);
});

test("to join a channel that has not begun hears it from the first message on", async (t) => {
  const server = await start(t);
  const seen = reader(t, server);
  subscribe(seen.options);
  await connected(seen);
  server.publish(CHANNEL);
  await until(() => seen.numbers.length === 1);
  server.sockets[0].terminate();
  await until(() => seen.states.includes("disconnected"));
  server.store(CHANNEL);
  await connected(seen);
  assert.deepEqual(seen.numbers, [1, 2]);
  assert.equal(server.replays.at(-1)[1], 1);
});

test("to join a channel that has ended ends, also where its last message is no longer kept", async (t) => {
  const server = await start(t);
  server.store(CHANNEL, { kind: "done" });
  const replay = server.replayWithState(CHANNEL);
  const seen = reader(t, server, {
    replay: async (...asked) => ({ ...(await replay(...asked)), events: [] }),
  });
  subscribe(seen.options);
  await until(() => seen.states.at(-1) === "finished");
  await until(() => server.sockets.length === 0);
});

test("all there is comes with after 0, as many answers as that takes", async (t) => {
  const server = await start(t);
  for (const _ of range(1, 35)) server.store(CHANNEL);
  const seen = reader(t, server, { after: 0, replay: server.replayWithState(CHANNEL, 10) });
  subscribe(seen.options);
  await connected(seen);
  assert.deepEqual(seen.numbers, range(1, 35));
  assert.deepEqual(server.replays.map(([, after]) => after), [0, 10, 20, 30]);
  assert.deepEqual(seen.snapshots, []);
});

test("what an answer to the end leaves out is not waited for", async (t) => {
  const server = await start(t);
  for (const _ of range(1, 5)) server.store(CHANNEL);
  server.stream.set(CHANNEL, server.stream.get(CHANNEL).slice(0, 2));
  const replay = server.replayWithState(CHANNEL);
  const seen = reader(t, server, {
    after: 0,
    replay: async (...asked) => ({ ...(await replay(...asked)), seq: 5 }),
  });
  subscribe(seen.options);
  await connected(seen);
  assert.deepEqual(seen.numbers, [1, 2]);
});

for (const after of [3, 2, 5])
  test(`a channel that was begun anew and stands at 3 is noticed by a page at ${after}`, async (t) => {
    const server = await start(t);
    for (const kind of ["started", "message", "done"]) server.store(CHANNEL, { kind });
    const seen = reader(t, server, { after, epoch: "before" });
    subscribe(seen.options);
    await until(() => seen.states.at(-1) === "finished");
    assert.deepEqual(server.replays[0], [CHANNEL, after, "before"]);
    assert.deepEqual(seen.numbers, [1, 2, 3]);
  });

test("it is noticed also where the application is not told the epoch", async (t) => {
  const server = await start(t);
  for (const kind of ["started", "message", "done"]) server.store(CHANNEL, { kind });
  const replay = server.replayWithState(CHANNEL);
  const seen = reader(t, server, {
    after: 3,
    epoch: "before",
    replay: (after, signal) => replay(after, signal, ""),
  });
  subscribe(seen.options);
  await until(() => seen.states.at(-1) === "finished");
  assert.deepEqual(seen.numbers, [1, 2, 3]);
});

test("a server that lost its last second and counts on is followed, bars included", async (t) => {
  const server = await start(t);
  const ts = new Date().toISOString();
  const later = new Date(Date.parse(ts) + 1000).toISOString();
  for (const _ of range(1, 5)) server.store(CHANNEL, { ts, text: "old" });
  const seen = reader(t, server);
  subscribe(seen.options);
  await connected(seen);
  server.stream.set(CHANNEL, server.stream.get(CHANNEL).slice(0, 2));
  for (const socket of server.sockets) socket.terminate();
  await until(() => seen.states.includes("disconnected"));
  server.store(CHANNEL, { ts: later, text: "new 3" });
  await connected(seen);
  server.publish(CHANNEL, { ts: later, text: "new 4" });
  await until(() => seen.texts.includes("new 4"));
  assert.deepEqual(seen.texts.slice(5), ["new 3", "new 4"]);
  assert.equal(seen.snapshots.length, 2);
});

for (const kind of ["done", "failed", "cancelled", "skipped"])
  test(`${kind} of a task does not end the subscription`, async (t) => {
    const server = await start(t);
    const seen = reader(t, server);
    server.store(CHANNEL, { kind, task: "core-1" });
    subscribe(seen.options);
    await connected(seen);
    server.publish(CHANNEL, { kind, task: "core-2" });
    server.publish(CHANNEL, { kind });
    await until(() => seen.states.at(-1) === "finished");
    assert.deepEqual(seen.numbers, [1, 2, 3]);
  });

test("a socket that is blocked from the start is replaced by questions, and taken up again", async (t) => {
  const server = await start(t);
  const unblock = block(server);
  server.publish(CHANNEL);
  const seen = reader(t, server);
  // Less often than it tries the socket.
  const times = { ...seen.options.times, poll: 400 };
  subscribe({ ...seen.options, times });
  await until(() => seen.numbers.length === 1);
  await until(() => seen.states.at(-1) === "polling");
  const told = seen.states.length;
  const { opened } = server;
  await until(() => server.opened > opened + 2);
  assert.equal(seen.states.length, told, "a socket that is refused again is no news");
  server.publish(CHANNEL);
  await until(() => seen.numbers.length === 2);
  unblock();
  await connected(seen);
  const asked = server.replays.length;
  server.publish(CHANNEL);
  await until(() => seen.numbers.length === 3);
  assert.equal(server.replays.length, asked, "nobody asks while the socket works");
  assert.deepEqual(seen.numbers, [1, 2, 3]);
  assert.deepEqual([...new Set(seen.states)], ["connecting", "disconnected", "polling", "connected"]);
});

test("a socket that hangs, as behind a proxy that swallows it, is no blank page either", async (t) => {
  const server = await start(t);
  const sockets = new Set();
  const silent = net.createServer((socket) => sockets.add(socket)).listen(0, "127.0.0.1");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  await once(silent, "listening");
  server.publish(CHANNEL, { kind: "done" });
  const seen = reader(t, server, { url: `ws://127.0.0.1:${silent.address().port}/.json` });
  subscribe({ ...seen.options, times: { ...seen.options.times, poll: 20 } });
  await until(() => seen.states.at(-1) === "finished");
  assert.deepEqual(seen.numbers, [1]);
});

test("a socket that is lost is replaced by questions until it is back", async (t) => {
  const server = await start(t);
  const seen = reader(t, server);
  subscribe({ ...seen.options, times: { ...seen.options.times, poll: 20 } });
  await connected(seen);
  const unblock = block(server);
  for (const number of range(1, 5)) {
    server.publish(CHANNEL);
    await until(() => seen.numbers.length === number);
  }
  assert.equal(seen.states.at(-1), "polling");
  unblock();
  await connected(seen);
  assert.deepEqual(seen.numbers, range(1, 5));
});

/** An application that answers each question as told, and the questions that it got. */
async function application(t, answer) {
  const asked = [];
  const server = http.createServer((request, response) => {
    asked.push(request.url);
    const { status = 200, body = [] } = answer(asked.length);
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${server.address().port}/events` };
}

for (const status of [400, 401, 403, 404, 410])
  for (const form of ["address", "response", "error"])
    test(`${status}, as ${form}, ends the subscription with a reason`, async (t) => {
      const server = await start(t);
      const { asked, url } = await application(t, () => ({ status, body: { error: "no" } }));
      const replay = {
        address: url,
        response: (_after, signal) => fetch(url, { signal }),
        error: async () => {
          asked.push(url);
          throw Object.assign(new Error(`replay answered ${status}`), { status });
        },
      }[form];
      const seen = reader(t, server, { replay });
      subscribe(seen.options);
      await until(() => seen.states.at(-1) === "refused");
      await until(() => server.sockets.length === 0);
      assert.equal(asked.length, 1);
      assert.deepEqual(seen.errors.map((error) => [error.message, error.status]), [
        [`replay answered ${status}`, status],
      ]);
    });

test("an address is asked for what is missing, and with the epoch", async (t) => {
  const server = await start(t);
  const event = server.store(CHANNEL);
  const { asked, url } = await application(t, (count) => ({
    body: { epoch: event.epoch, seq: count, events: [{ ...event, seq: count }] },
  }));
  const seen = reader(t, server, { replay: `${url}?channel=${CHANNEL}` });
  subscribe(seen.options);
  await connected(seen);
  server.sockets[0].terminate();
  await until(() => seen.numbers.length === 2);
  const query = (address) => Object.fromEntries(new URL(address, url).searchParams);
  assert.deepEqual(asked.map(query), [
    { channel: CHANNEL, epoch: "" },
    { channel: CHANNEL, epoch: event.epoch, after: "1" },
  ]);
});

const mistakes = {
  "500": [{ status: 500 }, /answered 500/],
  "an object without events": [{ body: { error: "maintenance" } }, /neither a list nor an object/],
  "null": [{ body: "null" }, /neither a list nor an object/],
  "the page of a login": [{ body: "<!doctype html>" }, /JSON/],
};
for (const [name, [answer, message]] of Object.entries(mistakes))
  test(`a replay that answers with ${name} is told and asked again`, async (t) => {
    const server = await start(t);
    const event = server.store(CHANNEL);
    const { url } = await application(t, (count) => (count < 3 ? answer : { body: [event] }));
    // The older form: a list, until it is empty. This one never is, and has nothing new.
    const seen = reader(t, server, { replay: url, after: 0 });
    subscribe(seen.options);
    await until(() => seen.numbers.length === 1);
    assert.equal(seen.errors.length, 2);
    for (const error of seen.errors) assert.match(error.message, message);
  });

test("a replay that has its answer at hand needs no promise", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  subscribe({ ...seen.options, replay: () => [] });
  await connected(seen);
});

test("without onError the console tells", async (t) => {
  const told = t.mock.method(console, "error", () => {});
  const server = await start(t);
  const seen = reader(t, server, {
    onError: undefined,
    replay: async () => {
      throw Object.assign(new Error("not yours"), { status: 403 });
    },
  });
  subscribe(seen.options);
  await until(() => seen.states.at(-1) === "refused");
  assert.equal(told.mock.calls[0].arguments[0].message, "not yours");
});

test("a replay that fails again and again is asked ever less often", async (t) => {
  const waits = [];
  const { setTimeout: original } = globalThis;
  t.mock.method(globalThis, "setTimeout", (callback, milliseconds, ...rest) => {
    if (milliseconds < 50 || milliseconds > 40_000) return original(callback, milliseconds, ...rest);
    waits.push(milliseconds);
    return original(callback, 0, ...rest);
  });
  t.mock.method(Math, "random", () => 1);
  const server = await start(t);
  const seen = reader(t, server, {
    replay: async () => {
      throw new Error("away");
    },
    times: { answer: 1e6, heartbeat: 1e6, replay: 1e6, poll: 1e6, firstDelay: 250 },
  });
  subscribe(seen.options);
  await until(() => waits.length >= 9);
  assert.deepEqual(waits.slice(0, 9), [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  seen.abort();
});

test("a signal that is aborted in onError ends it quietly", async (t) => {
  const server = await start(t);
  const seen = reader(t, server, {
    onError: () => seen.abort(),
    replay: async () => {
      throw Object.assign(new Error("no"), { status: 403 });
    },
  });
  subscribe(seen.options);
  await until(() => server.opened === 1 && server.sockets.length === 0);
  assert.deepEqual(seen.states, ["connecting"]);
});
