/** A scripted stand-in for Webdis and the replay: it speaks as Webdis does, and fails when told to. */

import { once } from "node:events";

import { WebSocketServer } from "ws";

const DEADLINE_MILLISECONDS = 20_000;
const JOINED_MESSAGES = 100;

/** Start one for a test, which stops it. */
export async function start(test) {
  const server = new Server();
  await once(server.listener, "listening");
  server.url = `ws://127.0.0.1:${server.listener.address().port}/.json`;
  test.after(() => server.stop());
  return server;
}

class Server {
  /** Every event that was published, as the Redis stream keeps them, by channel. */
  stream = new Map();
  /** The last event of each task, and of the run by the name "", by channel. */
  bars = new Map();
  /** Every command that arrived, with the socket's number. */
  commands = [];
  /** Every replay that was asked for: the channel and the number. */
  replays = [];
  /** How many sockets were opened, refused ones included. */
  opened = 0;
  /** Answers SUBSCRIBE; a test replaces it. */
  answer = (socket, channel) => this.send(socket, ["subscribe", channel, 1]);
  /** Called before the stream is read; a test makes it wait or throw. */
  beforeReplay = async (_signal, _channel) => {};

  constructor() {
    this.listener = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    this.listener.on("connection", (socket) => {
      const number = ++this.opened;
      socket.channels = new Set();
      socket.on("message", (data) => {
        const command = JSON.parse(data);
        this.commands.push([number, ...command]);
        socket.channels.add(command[1]);
        this.answer(socket, command[1]);
      });
    });
  }

  get sockets() {
    return [...this.listener.clients].filter(({ readyState }) => readyState === 1);
  }

  send(socket, array) {
    socket.send(JSON.stringify({ SUBSCRIBE: array }));
  }

  /** Append to the stream; its number follows. */
  store(channel, fields = {}) {
    const events = this.stream.get(channel) ?? [];
    const seq = (events.at(-1)?.seq ?? 0) + 1;
    const ts = new Date().toISOString();
    const epoch = events.at(-1)?.epoch ?? `epoch ${++epochs}`;
    const event = { seq, epoch, ts, kind: "message", text: `text ${seq}`, ...fields };
    this.stream.set(channel, [...events, event]);
    const bars = this.bars.get(channel) ?? new Map();
    this.bars.set(channel, bars.set(event.task ?? "", event));
    return event;
  }

  /** Send to whoever is subscribed. */
  push(channel, event) {
    for (const socket of this.sockets)
      if (socket.channels.has(channel))
        this.send(socket, ["message", channel, JSON.stringify(event)]);
  }

  publish(channel, fields) {
    const event = this.store(channel, fields);
    this.push(channel, event);
    return event;
  }

  /** What the application gives to `subscribe` as `replay`. */
  replay = (channel, most = 1000) => async (after, signal) => {
    this.replays.push([channel, after]);
    await this.beforeReplay(signal, channel);
    const events = this.stream.get(channel) ?? [];
    const known = after <= (events.at(-1)?.seq ?? 0);
    return events.filter(({ seq }) => !known || seq > after).slice(0, most);
  };

  /** The same as PROTOCOL.md has it: with the state of all bars where the events do not tell all. */
  replayWithState = (channel, most = 1000) => async (after, signal, epoch) => {
    this.replays.push([channel, after, epoch]);
    await this.beforeReplay(signal, channel);
    const events = this.stream.get(channel) ?? [];
    const bars = this.bars.get(channel) ?? new Map();
    const last = { epoch: events.at(-1)?.epoch ?? "", seq: events.at(-1)?.seq ?? 0 };
    const told = !epoch || epoch === last.epoch;
    const trimmed = (events[0]?.seq ?? 1) > (after ?? 0) + 1;
    const joins = after === null;
    const { "": run = null, ...tasks } = Object.fromEntries(bars);
    return {
      ...last,
      cancel: false,
      events: joins
        ? events.slice(-JOINED_MESSAGES)
        : events.filter(({ seq }) => !told || after > last.seq || seq > after).slice(0, most),
      ...((joins || !told || after > last.seq || trimmed) && {
        state: { run, tasks: Object.values(tasks).sort((one, two) => one.seq - two.seq) },
      }),
    };
  };

  stop() {
    for (const socket of this.listener.clients) socket.terminate();
    this.listener.close();
  }
}

let epochs = 0;

/** Wait for a condition. */
export async function until(condition, what = String(condition)) {
  const deadline = performance.now() + DEADLINE_MILLISECONDS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Collects what a subscription says. */
export function listener(test, server, channel = "progress:1") {
  const controller = new AbortController();
  test.after(() => controller.abort());
  const seen = { texts: [], numbers: [], states: [], errors: [], abort: () => controller.abort() };
  seen.options = {
    url: server.url,
    channel,
    replay: server.replay(channel),
    onEvent: ({ seq, text }) => {
      seen.numbers.push(seq);
      seen.texts.push(text);
    },
    onState: (state) => seen.states.push(state),
    onError: (error) => seen.errors.push(error),
    signal: controller.signal,
    // An answer that is late on a busy machine must not look like a lost connection.
    times: { answer: 15_000, heartbeat: 15_000, replay: 15_000, poll: 15_000,
      firstDelay: 5, longestDelay: 20 },
  };
  return seen;
}

export const connected = (seen) => until(() => seen.states.at(-1) === "connected", "connected");

export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
