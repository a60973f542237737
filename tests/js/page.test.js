/** What the browser tells about page, machine and network: dispatched here, real in tests/e2e. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { subscribe } from "../../clients/javascript/src/progress.js";
import { connected, listener, start, until } from "./server.js";

const CHANNEL = "progress:1";
const page = new EventTarget();
let listening = 0;
// For all tests of this file: what one subscribes it takes away when it has ended.
globalThis.addEventListener = (type, callback) => {
  listening += 1;
  page.addEventListener(type, callback);
};
globalThis.removeEventListener = (type, callback) => {
  listening -= 1;
  page.removeEventListener(type, callback);
};
const dispatch = (type) => page.dispatchEvent(new Event(type));

for (const type of ["pageshow", "visibilitychange", "online"])
  test(`${type} ends a long wait`, async (t) => {
    const server = await start(t);
    const seen = listener(t, server);
    t.mock.method(Math, "random", () => 1);
    const times = { ...seen.options.times, firstDelay: 1e6, longestDelay: 1e6 };
    subscribe({ ...seen.options, times });
    await connected(seen);
    server.sockets[0].close();
    await until(() => seen.states.at(-1) === "disconnected");
    server.publish(CHANNEL);
    dispatch(type);
    await connected(seen);
    assert.deepEqual(seen.numbers, [1]);
  });

for (const type of ["pageshow", "visibilitychange", "online", "offline"])
  test(`${type} checks a connection that looks alive`, async (t) => {
    const server = await start(t);
    const seen = listener(t, server);
    subscribe({ ...seen.options, times: { ...seen.options.times, answer: 200 } });
    await connected(seen);
    const [socket] = server.sockets;
    const { answer } = server;
    server.answer = (to, channel) => to !== socket && answer(to, channel);
    socket.channels.clear();
    server.publish(CHANNEL);
    dispatch(type);
    await until(() => seen.numbers.length === 1);
    assert.ok(server.opened > 1);
  });

test("a page put aside lets its socket go, and comes back with all it missed", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  subscribe(seen.options);
  await connected(seen);
  const closed = once(server.sockets[0], "close");
  const { WebSocket } = globalThis;
  globalThis.document = { visibilityState: "hidden" };
  globalThis.WebSocket = () => assert.fail("it would keep the browser from keeping the page");
  try {
    dispatch("pagehide");
    dispatch("visibilitychange");
  } finally {
    Object.assign(globalThis, { WebSocket, document: undefined });
  }
  await closed;
  server.publish(CHANNEL);
  assert.equal(server.opened, 1);
  dispatch("pageshow");
  await connected(seen);
  assert.deepEqual(seen.numbers, [1]);
});

test("nothing listens to the page any more when the last subscription has ended", async (t) => {
  const server = await start(t);
  const first = listener(t, server);
  const second = listener(t, server, "progress:2");
  subscribe(first.options);
  subscribe(second.options);
  await connected(second);
  const before = listening;
  assert.ok(before > 0);
  first.abort();
  assert.equal(listening, before);
  second.abort();
  assert.equal(listening, 0);
});
