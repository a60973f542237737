/** What a page is shown of a run: states, percent, time left, tasks, messages. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { follow, MOST_MESSAGES, Run } from "../../clients/javascript/src/index.js";
import { connected, listener, range, start, until } from "./server.js";

const CHANNEL = "progress:1";
const MINUTE = 60;

/** A function that makes events, one after the other, `seconds` after the first. */
function events(epoch = "one") {
  let seq = 0;
  return (fields, seconds = seq) => ({
    seq: ++seq,
    epoch,
    ts: new Date(Date.UTC(2026, 0, 31) + 1000 * seconds).toISOString(),
    kind: "progress",
    text: "",
    current: null,
    total: null,
    ...fields,
  });
}

/** The clock that a time left counts down by. */
function clock(t) {
  let seconds = 0;
  t.mock.method(performance, "now", () => 1000 * seconds);
  return { pass: (more) => (seconds += more) };
}

test("a run waits, runs and ends", () => {
  const next = events();
  const run = new Run();
  assert.deepEqual([run.state, run.percent, run.ended], ["waiting", null, false]);
  run.receive(next({ kind: "started", text: "Started" }));
  assert.deepEqual([run.state, run.percent, run.text], ["running", null, "Started"]);
  run.receive(next({ current: 1, total: 3 }));
  assert.deepEqual([run.percent, run.text], [33, "Started"]);
  run.receive(next({ kind: "failed", text: "It broke", current: 1, total: 3 }));
  assert.deepEqual([run.state, run.percent, run.ended], ["failed", 33, true]);
  assert.equal(run.startedAt, Date.UTC(2026, 0, 31));
  assert.equal(run.changedAt, run.startedAt + 2000);
});

test("percent is never above 100, and needs a total", () => {
  const next = events();
  const run = new Run();
  for (const [current, total, percent] of [[0, 3, 0], [2, 3, 66], [5, 3, 100], [5, null, null], [5, 0, null]]) {
    run.receive(next({ current, total }));
    assert.equal(run.percent, percent);
  }
  run.receive(next({ kind: "done" }));
  assert.equal(run.percent, 100);
});

test("time left follows the pace of the last minute", (t) => {
  clock(t);
  const next = events();
  const run = new Run();
  run.receive(next({ kind: "started" }, 0));
  assert.equal(run.secondsLeft, null);
  // Slow for two minutes, a step each 10 s; then ten times as fast.
  for (const step of range(1, 12)) run.receive(next({ current: step, total: 200 }, step * 10));
  assert.equal(run.secondsLeft, 1880);
  for (const step of range(1, MINUTE + 1)) run.receive(next({ current: 12 + step, total: 200 }, 120 + step));
  assert.equal(run.secondsLeft, 200 - 12 - MINUTE - 1);
  run.receive(next({ kind: "done", current: 200, total: 200 }, 200));
  assert.equal(run.secondsLeft, null);
});

test("time left counts down between two events, not below the steps that are to come", (t) => {
  const time = clock(t);
  const next = events();
  const run = new Run();
  for (const step of range(0, 5)) run.receive(next({ current: step, total: 10 }, step * 20));
  assert.equal(run.secondsLeft, 100);
  time.pass(7);
  assert.equal(run.secondsLeft, 93);
  run.receive(next({ kind: "message", text: "Still at it", current: 5, total: 10 }, 107));
  assert.equal(run.secondsLeft, 93);
  time.pass(3600);
  assert.equal(run.secondsLeft, 80);
  for (const step of range(6, 10)) run.receive(next({ current: step, total: 10 }, step * 20));
  assert.equal(run.percent, 100);
  assert.equal(run.secondsLeft, null, "all steps are done, though nobody has ended the run");
});

test("a bar that goes back, as in a retry, takes its pace anew", (t) => {
  clock(t);
  const next = events();
  const run = new Run();
  for (const step of range(0, 5)) run.receive(next({ current: step, total: 10 }, step));
  run.receive(next({ current: 0, total: 10 }, 10));
  assert.equal(run.secondsLeft, null);
  run.receive(next({ current: 1, total: 10 }, 15));
  assert.equal(run.secondsLeft, 45);
});

test("each task has its bar; what it says of itself says nothing of the run", () => {
  const next = events();
  const run = new Run();
  run.receive(next({ kind: "started", total: 2, current: 0 }));
  run.receive(next({ task: "core-1", label: "Core router 1", text: "Reading", current: 1, total: 4 }));
  run.receive(next({ task: "edge-1", kind: "failed", text: "No answer" }));
  assert.deepEqual([run.state, run.percent, run.text], ["running", 0, ""]);
  const shown = [...run.tasks.values()].map((bar) => [bar.task, bar.label, bar.state, bar.percent, bar.text]);
  assert.deepEqual(shown, [
    ["core-1", "Core router 1", "running", 25, "Reading"],
    ["edge-1", "edge-1", "failed", null, "No answer"],
  ]);
  run.receive(next({ task: "edge-1", kind: "started", text: "Again" }));
  assert.equal(run.tasks.get("edge-1").state, "running");
  run.receive(next({ kind: "done" }));
  assert.deepEqual([...run.tasks.values()].map(({ state }) => state), ["cut off", "cut off"]);
});

test("a kind that is not known is a message", () => {
  const run = new Run();
  run.receive(events()({ kind: "applauded", text: "Bravo" }));
  assert.equal(run.state, "running");
  assert.equal(run.messages.length, 1);
});

test("messages: steps that say the same say it once, and a gap is told", () => {
  const next = events();
  const run = new Run();
  for (const text of ["one", "one", "", "two", "one"]) run.receive(next({ text }));
  run.receive(next({ text: "one", task: "core-1" }));
  run.receive(next({ text: "one", task: "core-1", kind: "message" }));
  next({});
  run.receive(next({ text: "after" }));
  const told = run.messages.map(({ kind, text, task }) => [kind, text ?? null, task ?? ""]);
  assert.deepEqual(told, [
    ["progress", "one", ""],
    ["progress", "two", ""],
    ["progress", "one", ""],
    ["progress", "one", "core-1"],
    ["message", "one", "core-1"],
    ["gap", null, ""],
    ["progress", "after", ""],
  ]);
});

test("messages: numbers of what a writer sent again are no gap", () => {
  const next = events();
  const run = new Run();
  run.receive(next({ text: "one", id: "a-1" }));
  next({}); // the same once more, which the subscription has dropped
  run.receive(next({ text: "two", id: "a-2" }));
  next({});
  run.receive(next({ text: "four", id: "a-4" }));
  assert.deepEqual(run.messages.map(({ kind }) => kind), ["progress", "progress", "gap", "progress"]);
});

test("messages are bounded, the oldest go first", () => {
  const next = events();
  const run = new Run();
  for (const number of range(1, 2.5 * MOST_MESSAGES)) run.receive(next({ text: `text ${number}` }));
  assert.ok(run.messages.length >= MOST_MESSAGES && run.messages.length < 1.1 * MOST_MESSAGES);
  assert.equal(run.messages.at(-1).text, `text ${2.5 * MOST_MESSAGES}`);
  assert.equal(run.dropped + run.messages.length, 2.5 * MOST_MESSAGES);
  assert.equal(run.messages[0].text, `text ${run.dropped + 1}`);
});

test("the state of all bars replaces what was known, and older events do not undo it", () => {
  const next = events();
  const run = new Run();
  run.receive(next({ task: "gone", text: "here" }));
  const old = next({ task: "core-1", current: 1, total: 4, text: "Reading" });
  const now = next({ task: "core-1", current: 3, total: 4, text: "Writing" });
  const own = next({ current: 7, total: 8 });
  run.restore({ epoch: "one", seq: own.seq, cancel: true, events: [], state: { run: own, tasks: [now] } });
  run.receive(old);
  assert.deepEqual([...run.tasks.keys()], ["core-1"]);
  assert.deepEqual([run.tasks.get("core-1").percent, run.tasks.get("core-1").text], [75, "Writing"]);
  assert.deepEqual([run.percent, run.cancelRequested], [87, true]);
  assert.deepEqual(run.messages.map(({ text }) => text), ["here", "Reading"]);
});

test("a channel that begins anew takes its bars away and leaves what was said", () => {
  const next = events();
  const run = new Run();
  run.receive(next({ text: "before", current: 1, total: 2 }));
  run.receive(next({ text: "of a task", task: "core-1" }));
  const anew = events("two");
  run.receive(anew({ kind: "started", text: "after" }));
  assert.deepEqual([run.percent, run.tasks.size, run.seq], [null, 0, 1]);
  assert.deepEqual(run.messages.map(({ text }) => text), ["before", "of a task", "after"]);
});

test("follow keeps one run up to date, and tells of changes ten times a second", async (t) => {
  const server = await start(t);
  for (const step of range(1, 300)) server.store(CHANNEL, { task: "core-1", current: step, total: 400 });
  const seen = listener(t, server);
  const changes = [];
  const run = follow({
    ...seen.options,
    replay: server.replayWithState(CHANNEL),
    onChange: (changed) => changes.push(changed === run && run.state),
  });
  await connected(seen);
  assert.equal(run.connection, "connected");
  assert.equal(run.tasks.get("core-1").percent, 75);
  assert.deepEqual(run.messages.map(({ seq }) => seq), [201, ...range(201, 300)]);
  assert.equal(run.messages[0].kind, "gap");
  await until(() => changes.length);
  const before = changes.length;
  for (const step of range(301, 399)) server.publish(CHANNEL, { current: step, total: 400 });
  server.publish(CHANNEL, { kind: "done", text: "Done" });
  await until(() => run.connection === "finished");
  assert.deepEqual([run.state, run.text], ["done", "Done"]);
  await until(() => changes.at(-1) === "done");
  assert.ok(changes.length - before < 20, `${changes.length - before} for 100 events`);
});

test("follow tells of nothing after it was stopped", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const stop = new AbortController();
  const changes = [];
  const run = follow({ ...seen.options, signal: stop.signal, onChange: () => changes.push(run.seq) });
  await connected(seen);
  await until(() => changes.length);
  server.publish(CHANNEL);
  await until(() => run.seq === 1);
  stop.abort();
  const before = changes.length;
  await new Promise((resolve) => setTimeout(resolve, 100)); // timers of one length run in order
  assert.equal(changes.length, before);
});

test("an error in a callback keeps no change from being told", async (t) => {
  const server = await start(t);
  const reported = [];
  t.mock.method(globalThis, "queueMicrotask", (task) => {
    try {
      task();
    } catch ({ message }) {
      reported.push(message);
    }
  });
  const seen = listener(t, server);
  const fail = () => {
    throw new Error("of the caller");
  };
  const changes = [];
  const callbacks = { onEvent: fail, onState: fail, onSnapshot: fail };
  const replay = server.replayWithState(CHANNEL);
  const run = follow({ ...seen.options, ...callbacks, replay, onChange: () => changes.push(run.seq) });
  await until(() => run.connection === "connected" && changes.length);
  server.publish(CHANNEL);
  await until(() => changes.at(-1) === 1);
  assert.ok(reported.length >= 3, `${reported}`);
});

test("a page that begins after a number misses nothing", async (t) => {
  const server = await start(t);
  for (const _ of range(1, 5)) server.store(CHANNEL);
  const seen = listener(t, server);
  const run = follow({ ...seen.options, after: 4 });
  await connected(seen);
  assert.deepEqual(run.messages.map(({ kind, seq }) => [kind, seq]), [["message", 5]]);
});

test("follow says why it was refused", async (t) => {
  const server = await start(t);
  const seen = listener(t, server);
  const replay = async () => {
    throw Object.assign(new Error("not yours"), { status: 403 });
  };
  const run = follow({ ...seen.options, replay });
  await until(() => run.connection === "refused");
  assert.equal(run.error.message, "not yours");
});
