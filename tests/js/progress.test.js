/** The subscriber against a scripted server: the ugly cases that a real one shows once a month. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";

import { subscribe } from "../../clients/javascript/src/progress.js";
import { connected, listener, range, start, until } from "./server.js";

const CHANNEL = "progress:1";

test("subscribes first, then fetches, and shows what both bring once", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  server.publish(CHANNEL);
  server.publish(CHANNEL);
  const subscribed = []; // how often, whenever a replay is asked for
  server.beforeReplay = async () => {
    if (subscribed.push(server.commands.length) === 1)
      server.publish(CHANNEL); // pushed, and in the answer too
  };
  subscribe({ ...seen.options, after: 1 });
  await connected(seen);
  server.publish(CHANNEL);
  await until(() => seen.numbers.includes(4));
  assert.deepEqual(seen.numbers, [2, 3, 4]);
  assert.equal(subscribed[0], 1, "replay was asked for before the subscription");
  assert.deepEqual(server.replays[0], [CHANNEL, 1]);
  assert.deepEqual(seen.states, ["connecting", "connected"]);
});

const unexpected = {
  "Service Unavailable": "Service Unavailable",
  "half a JSON text": '{"SUBSCRIBE":["mess',
  "JSON without an array": '{"SUBSCRIBE":false}',
  "a refusal": '{"SUBSCRIBE":[false,"NOPERM no permissions"]}',
  "null": "null",
  "another channel": '{"SUBSCRIBE":["subscribe","progress:2",1]}',
  "another kind": `{"SUBSCRIBE":["unsubscribe","${CHANNEL}",0]}`,
  "a payload that is no JSON": `{"SUBSCRIBE":["message","${CHANNEL}","text"]}`,
  "a payload without a number": `{"SUBSCRIBE":["message","${CHANNEL}","{}"]}`,
  "no text": "",
  "bytes": Buffer.from([0, 1]),
};
for (const [name, frame] of Object.entries(unexpected))
  test(`an unexpected frame is a lost connection: ${name}`, async (t) => {
    const server = await start(t);
    const seen = listener(t, server);
    subscribe(seen.options);
    await connected(seen);
    const [socket] = server.sockets;
    const closed = once(socket, "close");
    socket.channels.clear(); // what is published now reaches nobody
    server.publish(CHANNEL);
    socket.send(frame);
    await closed;
    await until(() => seen.numbers.length === 1);
    await connected(seen);
    server.publish(CHANNEL);
    await until(() => seen.numbers.length === 2);
    assert.deepEqual(seen.numbers, [1, 2]);
    assert.deepEqual(seen.states, ["connecting", "connected", "disconnected", "connected"]);
  });

test("a socket that opens and never answers is given up", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const { answer } = server;
  server.answer = (socket, channel) => server.opened > 2 && answer(socket, channel);
  server.publish(CHANNEL);
  subscribe({ ...seen.options, times: { ...seen.options.times, answer: 100 } });
  await until(() => seen.numbers.length === 1);
  assert.ok(server.opened > 2);
});

test("a server that accepts and never upgrades is given up", async (t) => {
  const sockets = [];
  const silent = net.createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  await once(silent, "listening");
  const url = `ws://127.0.0.1:${silent.address().port}/.json`;
  const seen = listener(t, { url, replay: () => undefined });
  let replays = 0;
  const replay = async () => {
    replays += 1;
    return [];
  };
  subscribe({ ...seen.options, replay, times: { ...seen.options.times, answer: 50 } });
  await until(() => sockets.length > 2);
  assert.deepEqual(seen.states, ["connecting", "disconnected"]);
  assert.equal(replays, 0);
});

test("a socket that falls silent is noticed by the heartbeat", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  subscribe({ ...seen.options, times: { ...seen.options.times, heartbeat: 20, answer: 500 } });
  await connected(seen);
  await until(() => server.commands.length > 3); // heartbeats are answered
  const [socket] = server.sockets;
  const { answer } = server;
  server.answer = (to, channel) => to !== socket && answer(to, channel);
  socket.channels.clear();
  server.publish(CHANNEL);
  await until(() => seen.numbers.length === 1);
  assert.deepEqual(seen.numbers, [1]);
  assert.ok(seen.states.includes("disconnected"));
  assert.ok(server.commands.every(([, verb]) => verb === "SUBSCRIBE"));
});

for (const ending of ["stalls", "closes", "is garbage"])
  test(`half a frame, then the connection ${ending}`, async (t) => {
    const server = await start(t);
    const seen = listener(t, server);
    subscribe({ ...seen.options, times: { ...seen.options.times, heartbeat: 20, answer: 500 } });
    await connected(seen);
    const [socket] = server.sockets;
    const { answer } = server;
    // What the stalled half swallows is lost with it.
    server.answer = (to, channel) => to !== socket && answer(to, channel);
    socket.channels.clear();
    server.publish(CHANNEL);
    // A text frame of 100 bytes, of which 3 come.
    socket._socket.write(Buffer.from([0x81, 100, 0x7b, 0x22, 0x53]));
    if (ending === "closes") socket._socket.end();
    if (ending === "is garbage") socket._socket.write(Buffer.alloc(200, 0xff));
    await until(() => seen.numbers.length === 1);
    server.publish(CHANNEL);
    await until(() => seen.numbers.length === 2);
    assert.deepEqual(seen.numbers, [1, 2]);
  });

test("doubled and reordered messages are shown once, in order", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  subscribe(seen.options);
  await connected(seen);
  const events = range(1, 6).map(() => server.store(CHANNEL));
  for (const index of [0, 0, 2, 1, 1, 5, 4, 3, 0]) server.push(CHANNEL, events[index]);
  await until(() => seen.numbers.length >= 6);
  server.publish(CHANNEL);
  await until(() => seen.numbers.includes(7));
  assert.deepEqual(seen.numbers, range(1, 7));
  assert.equal(server.opened, 1);
});

test("a gap is fetched, as many answers as that takes", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  subscribe({ ...seen.options, replay: server.replay(CHANNEL, 10) });
  await connected(seen);
  for (let i = 0; i < 34; i++) server.store(CHANNEL);
  server.publish(CHANNEL);
  await until(() => seen.numbers.length === 35);
  assert.deepEqual(seen.numbers, range(1, 35));
});

test("a replay that always brings everything doubles nothing", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const replay = async () => server.stream.get(CHANNEL) ?? [];
  for (let i = 0; i < 3; i++) server.publish(CHANNEL);
  subscribe({ ...seen.options, replay, after: 1 });
  await connected(seen);
  server.store(CHANNEL);
  server.publish(CHANNEL); // behind a gap
  await until(() => seen.numbers.includes(5));
  assert.deepEqual(seen.numbers, range(2, 5));
});

test("what the server no longer has is skipped", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  subscribe(seen.options);
  await connected(seen);
  server.publish(CHANNEL);
  await until(() => seen.numbers.length === 1);
  for (let i = 0; i < 50; i++) server.store(CHANNEL);
  server.stream.set(CHANNEL, server.stream.get(CHANNEL).slice(-3));
  server.publish(CHANNEL);
  await until(() => seen.numbers.includes(52));
  assert.deepEqual(seen.numbers, [1, 49, 50, 51, 52]);
});

test("a replay that is behind what is pushed is asked again", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const other = listener(t, server, "progress:2");
  subscribe(other.options);
  await connected(other);
  let asked = 0;
  const { replay } = seen.options;
  subscribe({
    ...seen.options,
    replay: async (...args) => {
      if (++asked > 1) return replay(...args);
      server.store(CHANNEL);
      server.publish(CHANNEL);
      server.publish("progress:2"); // behind it on the same socket
      await until(() => other.numbers.length === 1);
      return [];
    },
  });
  await connected(seen);
  assert.deepEqual(seen.numbers, [1, 2]);
});

for (const count of [1, 5, 9])
  test(`a server that lost everything counts anew, ${count} messages ago`, async (t) => {
    const server = await start(t);
    const seen = listener(t, server);
    for (let i = 0; i < 4; i++) server.publish(CHANNEL, { text: "old" });
    const lost = server.publish(CHANNEL, { text: "old" });
    subscribe({ ...seen.options, replay: server.replay(CHANNEL, 3) });
    await connected(seen);
    server.stream.delete(CHANNEL);
    for (let i = 1; i < count; i++) server.store(CHANNEL, { text: `new ${i}` });
    server.publish(CHANNEL, { text: `new ${count}` });
    await until(() => seen.texts.includes(`new ${count}`));
    const expected = [...range(1, 5).map(() => "old"), ...range(1, count).map((i) => `new ${i}`)];
    assert.deepEqual(seen.texts, expected);
    server.push(CHANNEL, { ...lost, seq: lost.seq + 1 }); // it was on its way for long
    const { text } = server.publish(CHANNEL);
    await until(() => seen.texts.includes(text));
    assert.deepEqual(seen.texts, [...expected, text]);
  });

test("a count that begins anew while a replay is under way is followed", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  for (let i = 0; i < 3; i++) server.publish(CHANNEL, { text: "old" });
  subscribe(seen.options);
  await connected(seen);
  const other = listener(t, server, "progress:2");
  subscribe(other.options);
  await connected(other);
  const asked = server.replays.length;
  let answer;
  const answered = new Promise((resolve) => {
    answer = resolve;
  });
  server.beforeReplay = (signal, channel) => channel === CHANNEL && answered;
  server.store(CHANNEL, { text: "old" });
  server.publish(CHANNEL, { text: "old" }); // a gap
  await until(() => server.replays.length > asked);
  server.stream.delete(CHANNEL);
  for (let i = 1; i <= 3; i++) server.publish(CHANNEL, { text: `new ${i}` });
  server.publish("progress:2"); // behind them on the same socket
  await until(() => other.numbers.length === 1);
  answer();
  await until(() => seen.texts.includes("new 3"));
  assert.deepEqual(seen.texts, ["old", "old", "old", "new 1", "new 2", "new 3"]);
});

test("a page that was made before the loss shows what came after it", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  server.publish(CHANNEL);
  server.publish(CHANNEL);
  subscribe({ ...seen.options, after: 1, epoch: "before" });
  await connected(seen);
  assert.deepEqual(seen.numbers, [1, 2]);
});

test("a server that lost its last second jumps ahead; nothing is shown twice", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  for (let i = 0; i < 5; i++) server.publish(CHANNEL);
  subscribe(seen.options);
  await connected(seen);
  server.stream.set(CHANNEL, server.stream.get(CHANNEL).slice(0, 3));
  server.sockets[0].close();
  await until(() => seen.states.includes("disconnected"));
  await connected(seen); // the replay had nothing but what is known
  server.publish(CHANNEL, { seq: 1_000_004 });
  server.publish(CHANNEL);
  await until(() => seen.numbers.includes(1_000_005));
  assert.deepEqual(seen.numbers, [...range(1, 5), 1_000_004, 1_000_005]);
});

test("a server that lost its last second and counts on is followed", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const ts = new Date().toISOString();
  const later = new Date(Date.parse(ts) + 1000).toISOString();
  for (let i = 0; i < 1500; i++) server.store(CHANNEL, { ts, text: "old" });
  subscribe(seen.options);
  await connected(seen);
  server.stream.set(CHANNEL, server.stream.get(CHANNEL).slice(0, 1400));
  for (const socket of server.sockets) socket.close();
  await until(() => seen.states.includes("disconnected"));
  server.store(CHANNEL, { ts: later, text: "new 1401" });
  await connected(seen);
  for (let seq = 1402; seq <= 1502; seq++)
    server.publish(CHANNEL, { ts: later, text: `new ${seq}` });
  await until(() => seen.texts.includes("new 1502"));
  const expected = range(1401, 1502).map((seq) => `new ${seq}`);
  assert.deepEqual(seen.texts.slice(1500), expected);
});

test("a replay that fails is asked again, on the same socket", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  server.publish(CHANNEL);
  server.beforeReplay = async () => {
    if (server.replays.length < 4) throw new Error("503");
  };
  subscribe(seen.options);
  await connected(seen);
  assert.deepEqual(seen.numbers, [1]);
  assert.deepEqual(seen.states, ["connecting", "disconnected", "connected"]);
  assert.equal(server.opened, 1);
});

test("a replay that answers with no list is asked again", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  server.publish(CHANNEL);
  const { replay } = seen.options;
  let asked = 0;
  subscribe({
    ...seen.options,
    replay: async (...args) => (++asked < 3 ? { error: "maintenance" } : replay(...args)),
  });
  await connected(seen);
  assert.deepEqual(seen.numbers, [1]);
});

test("a replay that hangs is aborted and asked again", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  server.publish(CHANNEL);
  let aborted = 0;
  server.beforeReplay = async (signal) => {
    if (server.replays.length > 2) return;
    await once(signal, "abort");
    aborted += 1;
    await new Promise(() => {});
  };
  subscribe({ ...seen.options, times: { ...seen.options.times, replay: 50 } });
  await connected(seen);
  assert.deepEqual(seen.numbers, [1]);
  assert.equal(aborted, 2);
});

test("clocks that jump change nothing: the page's and the publisher's", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const noon = Date.parse("2026-01-31T12:00:00Z");
  t.mock.timers.enable({ apis: ["Date"], now: noon });
  subscribe({ ...seen.options, times: { ...seen.options.times, heartbeat: 10 } });
  await connected(seen);
  for (const hours of [24, -24, 0]) {
    t.mock.timers.setTime(noon + hours * 3_600_000);
    const heartbeats = server.commands.length;
    server.publish(CHANNEL); // its ts is that of this clock
    await until(() => server.commands.length > heartbeats + 2);
    server.store(CHANNEL);
    server.publish(CHANNEL); // behind a gap
    await until(() => seen.numbers.length === server.stream.get(CHANNEL).length);
  }
  const days = server.stream.get(CHANNEL).map(({ ts }) => Number(ts.slice(8, 10)));
  assert.deepEqual(days, [1, 1, 1, 30, 30, 30, 31, 31, 31]);
  assert.deepEqual(seen.numbers, range(1, 9));
  assert.equal(server.opened, 1);
});

test("a machine that slept longer than any time-out shows all, once", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const times = { ...seen.options.times, heartbeat: 20, answer: 60 };
  subscribe({ ...seen.options, times });
  await connected(seen);
  for (let i = 0; i < 3; i++) {
    server.publish(CHANNEL);
    const asleep = new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(asleep, 0, 0, 150);
    server.publish(CHANNEL);
  }
  await until(() => seen.numbers.length >= 6);
  await connected(seen);
  assert.deepEqual(seen.numbers, range(1, 6));
});

for (const kind of ["done", "failed", "cancelled"])
  test(`${kind} ends the subscription`, async (t) => {
    const server = await start(t);
    const seen = listener(t, server);
    subscribe(seen.options);
    await connected(seen);
    const closed = once(server.sockets[0], "close");
    server.publish(CHANNEL, { kind });
    server.publish(CHANNEL);
    await closed;
    assert.deepEqual(seen.numbers, [1]);
    assert.deepEqual(seen.states, ["connecting", "connected", "finished"]);
  });

test("a channel that has ended before ends at once", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  for (const kind of ["started", "done", "message"]) server.publish(CHANNEL, { kind });
  subscribe(seen.options);
  await until(() => seen.states.at(-1) === "finished");
  await until(() => server.sockets.length === 0);
  assert.deepEqual(seen.numbers, [1, 2]);
});

test("a signal that is aborted already subscribes to nothing", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  seen.abort();
  subscribe(seen.options);
  assert.deepEqual(seen.states, []);
  assert.equal(server.opened, 0);
});

test("the signal ends it while it connects, waits, fetches and delivers", async (t) => {
  const server = await start(t);
  for (let i = 0; i < 3; i++) server.publish(CHANNEL);

  const connecting = listener(t, server);
  subscribe(connecting.options);
  connecting.abort();

  const fetching = listener(t, server);
  let request;
  server.beforeReplay = (signal) => {
    request = signal;
    return new Promise(() => {});
  };
  subscribe(fetching.options);
  await until(() => request);
  fetching.abort();
  assert.ok(request.aborted);
  await until(() => server.sockets.length === 0);

  server.beforeReplay = async () => {};
  const delivering = listener(t, server);
  const { onEvent } = delivering.options;
  const once = (event) => {
    onEvent(event);
    delivering.abort();
  };
  subscribe({ ...delivering.options, onEvent: once });
  await until(() => delivering.numbers.length);
  await until(() => server.sockets.length === 0);

  const waiting = listener(t, server);
  const times = { ...waiting.options.times, firstDelay: 1e6, longestDelay: 1e6 };
  subscribe({ ...waiting.options, times });
  await connected(waiting);
  server.sockets[0].close();
  await until(() => waiting.states.at(-1) === "disconnected");
  waiting.abort();

  const opened = server.opened;
  const next = listener(t, server); // a new connection, nothing left of the old ones
  subscribe(next.options);
  await connected(next);
  assert.equal(server.opened, opened + 1);
  assert.deepEqual(connecting.numbers, []);
  assert.deepEqual(fetching.numbers, []);
  assert.deepEqual(delivering.numbers, [1]);
});

test("several channels share one socket, which closes with the last", async (t) => {
  const server = await start(t);
  const channels = range(1, 5).map((number) => `progress:${number}`);
  const all = channels.map((channel) => listener(t, server, channel));
  for (const seen of all) subscribe(seen.options);
  await Promise.all(all.map(connected));
  for (const channel of channels) server.publish(channel);
  await until(() => all.every(({ numbers }) => numbers.length === 1));
  assert.equal(server.opened, 1);

  server.publish(channels[0], { kind: "done" });
  all[1].abort();
  server.publish(channels[1]); // still subscribed on this socket; nobody listens
  server.publish(channels[2]);
  await until(() => all[2].numbers.length === 2);
  assert.deepEqual(all[1].numbers, [1]);

  server.sockets[0].close();
  await Promise.all(all.slice(2).map((seen) => until(() => seen.states.length === 4)));
  assert.equal(server.opened, 2);
  const again = server.commands.filter(([socket]) => socket === 2).map(([, , channel]) => channel);
  assert.deepEqual(new Set(again), new Set(channels.slice(2)));

  for (const seen of all.slice(2)) seen.abort();
  await until(() => server.sockets.length === 0);
  assert.ok(server.commands.every(([, verb]) => verb === "SUBSCRIBE"));
});

test("nothing runs any more after the last subscription", async (t) => {
  const server = await start(t);
  const module = new URL("../../clients/javascript/src/progress.js", import.meta.url);
  const script = `
    import { subscribe } from "${module}";
    const done = { seq: 1, kind: "done" };
    const replay = async (after) => (after ? [] : [done]);
    subscribe({ url: "${server.url}", channel: "${CHANNEL}", replay, onEvent: () => {} });
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script]);
  t.after(() => child.kill());
  let code;
  child.on("exit", (value) => (code = value));
  await until(() => code !== undefined, "Node.js has nothing left to do and ends");
  assert.equal(code, 0);
  assert.equal(server.opened, 1);
});

test("two subscriptions of one channel each get every message", async (t) => {
  const server = await start(t);
  server.publish(CHANNEL);
  const first = listener(t, server);
  const second = listener(t, server);
  subscribe(first.options);
  await connected(first);
  server.publish(CHANNEL);
  subscribe({ ...second.options, after: 1 });
  await connected(second);
  server.publish(CHANNEL);
  await until(() => first.numbers.length === 3 && second.numbers.length === 2);
  assert.deepEqual(first.numbers, [1, 2, 3]);
  assert.deepEqual(second.numbers, [2, 3]);
  assert.equal(server.opened, 1);
});

test("an error in a callback is reported and stops nothing", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const reported = [];
  const report = globalThis.queueMicrotask;
  t.after(() => {
    globalThis.queueMicrotask = report;
  });
  globalThis.queueMicrotask = (task) => {
    try {
      task();
    } catch (error) {
      reported.push(error.message);
    }
  };
  const { onEvent } = seen.options;
  const faulty = (event) => {
    onEvent(event);
    throw new Error(`of the caller, at ${event.seq}`);
  };
  subscribe({ ...seen.options, onEvent: faulty });
  await connected(seen);
  server.publish(CHANNEL);
  server.publish(CHANNEL);
  await until(() => seen.numbers.length === 2);
  assert.deepEqual(reported, ["of the caller, at 1", "of the caller, at 2"]);
  assert.equal(server.opened, 1);
});

test("what cannot work is said at once", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  for (const after of [-1, 1.5, NaN, "3", 2 ** 53])
    assert.throws(() => subscribe({ ...seen.options, after }), {
      name: "TypeError",
      message: `after is ${after}; a whole number from 0 is needed`,
    });
  for (const name of ["url", "channel", "replay"])
    for (const value of [undefined, "", null])
      assert.throws(() => subscribe({ ...seen.options, [name]: value }), {
        name: "TypeError",
        message: `${name} is missing`,
      });
  assert.throws(() => subscribe({ ...seen.options, url: "not a url" }), { name: "SyntaxError" });
  assert.deepEqual(seen.states, []);
  subscribe(seen.options);
  await connected(seen);
});

test("waits grow up to the bound, with jitter, while the server falls over again", async (t) => {
  const waits = [];
  const { setTimeout: original } = globalThis;
  t.mock.method(globalThis, "setTimeout", (callback, milliseconds, ...rest) => {
    // Multiples of 101 ms are this test's; Node.js has timers of its own for its sockets.
    if (!milliseconds || milliseconds % 101) return original(callback, milliseconds, ...rest);
    waits.push(milliseconds);
    return original(callback, 0, ...rest);
  });
  const random = t.mock.method(Math, "random", () => 1);
  const server = await start(t);
  const { answer } = server;
  server.answer = (socket, channel) => {
    answer(socket, channel);
    socket.close();
  };
  const seen = listener(t, server);
  const times = { ...seen.options.times, firstDelay: 101, longestDelay: 808 };
  subscribe({ ...seen.options, times });
  await until(() => waits.length >= 6);
  assert.deepEqual(waits.slice(0, 6), [101, 202, 404, 808, 808, 808]);
  random.mock.mockImplementation(() => 0.5);
  const before = waits.length;
  await until(() => waits.length > before + 1);
  assert.equal(waits.at(-1), 404);
});

test("answered heartbeats bring the waits back to the first", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const times = { ...seen.options.times, firstDelay: 10, longestDelay: 1e6, heartbeat: 10 };
  subscribe({ ...seen.options, times });
  // Doubled each time, the thirtieth wait would be four months.
  for (let losses = 1; losses <= 30; losses++) {
    await connected(seen);
    const heartbeats = server.commands.length;
    await until(() => server.commands.length > heartbeats + 1);
    server.sockets[0].close();
    await until(() => seen.states.length > 2 * losses);
  }
  await connected(seen);
});

test("whatever is lost, doubled, moved or cut, each message comes once and in order", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  let state = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`SEED=${state}`);
  const random = () => (state = (state * 48_271) % 0x7fff_ffff) / 0x7fff_ffff;
  server.beforeReplay = async () => {
    if (random() < 0.2) throw new Error("replay is away");
  };
  subscribe({ ...seen.options, replay: server.replay(CHANNEL, 7) });
  const held = [];
  for (let i = 0; i < 2000; i++) {
    const event = server.store(CHANNEL);
    const fate = random();
    if (fate < 0.8) server.push(CHANNEL, event);
    if (fate < 0.05) server.push(CHANNEL, event);
    else if (fate < 0.1) held.push(event);
    else if (fate > 0.998) for (const socket of server.sockets) socket.send("Service Unavailable");
    else if (fate > 0.996) for (const socket of server.sockets) socket.terminate();
    if (held.length > 3) for (const late of held.splice(0)) server.push(CHANNEL, late);
    if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  server.publish(CHANNEL);
  await until(() => seen.numbers.includes(2001));
  assert.deepEqual(seen.numbers, range(1, 2001));
});

/** Several servers of the same channels: what is stored with the first is replayed of all. */
const several = async (t) => {
  const servers = [await start(t), await start(t), await start(t)];
  const seen = listener(t, servers[0]);
  seen.options.url = servers.map(({ url }) => url);
  const at = () => servers.find(({ sockets }) => sockets.length);
  const publish = (...to) => {
    const event = servers[0].store(CHANNEL);
    for (const server of to) server.push(CHANNEL, event);
  };
  return { servers, seen, at, publish };
};

test("of several urls the next is taken when one is lost, and nobody returns", async (t) => {
  const { servers, seen, at, publish } = await several(t);
  subscribe(seen.options);
  await connected(seen);
  const order = [];
  for (const number of [1, 2, 3, 4]) {
    const current = at();
    order.push(servers.indexOf(current));
    publish(...servers);
    await until(() => seen.numbers.length === number);
    seen.states.length = 0;
    current.sockets[0].terminate();
    await connected(seen);
  }
  assert.deepEqual(order, range(order[0], order[0] + 3).map((at) => at % 3));
  assert.deepEqual(seen.numbers, [1, 2, 3, 4]);
});

test("a server that answers heartbeats and pushes nothing is left", async (t) => {
  const { servers, seen, at, publish } = await several(t);
  Object.assign(seen.options.times, { heartbeat: 20, silence: 60 });
  subscribe({ ...seen.options, url: seen.options.url.join(" ") });
  await connected(seen);
  publish(...servers);
  await until(() => seen.numbers.length === 1);
  const stale = at();
  publish(...servers.filter((server) => server !== stale));
  await until(() => seen.numbers.length === 2);
  await until(() => at() && at() !== stale);
  seen.states.length = 0;
  // Where nothing is missing, nobody moves.
  const well = at();
  const asked = servers[0].replays.length;
  await until(() => servers[0].replays.length > asked + 3);
  assert.equal(at(), well);
  assert.deepEqual(seen.numbers, [1, 2]);
});

test("what a writer sends again under another number is shown once", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  subscribe({ ...seen.options, replay: server.replayWithState(CHANNEL) });
  await connected(seen);
  for (const id of ["a-1", "b-1", "a-2"]) server.publish(CHANNEL, { id });
  await until(() => seen.numbers.length === 3);
  // A new primary knows the first of them only.
  const [first] = server.stream.get(CHANNEL);
  server.stream.set(CHANNEL, [first]);
  server.publish(CHANNEL, { seq: 1_000_002, id: "a-2" });
  server.publish(CHANNEL, { id: "b-1" });
  server.publish(CHANNEL, { id: "a-3" });
  server.publish(CHANNEL, { id: "b-2" });
  await until(() => seen.numbers.length === 5);
  assert.deepEqual(seen.numbers.slice(3), [1_000_004, 1_000_005]);
});
