/**
 * Receive every message of a Redis channel, once and in order, through a Webdis
 * WebSocket. Depends on nothing. What the messages hold: PROTOCOL.md.
 *
 * Redis forgets what is published while nobody listens. So this subscribes,
 * *then* asks `replay` for everything after the last sequence number that it has
 * delivered, and does both again after every lost connection. While there is no
 * connection, as behind a proxy that blocks WebSockets, it asks `replay` every one to two seconds.
 *
 * What Webdis does decides how:
 * - When its Redis goes away, it sends one text frame and then keeps the socket
 *   open, silent, answering pings. So any unexpected frame is a lost connection,
 *   and the heartbeat is a repeated SUBSCRIBE: nothing else proves the way to Redis.
 * - UNSUBSCRIBE aborts it. So a subscription ends by not listening any more, and
 *   the socket is closed when its last subscription has ended.
 *
 * @typedef {"started"|"progress"|"message"|"done"|"failed"|"cancelled"|"skipped"} Kind
 * @typedef {"debug"|"info"|"warning"|"error"} Level
 *
 * @typedef {object} ProgressEvent
 * @property {number} seq counts the channel's messages from 1
 * @property {string} [epoch] another one: the server lost its data, and counts from 1 again
 * @property {string} [id] who wrote it, and how many events with this one
 * @property {string} ts time of publishing, UTC, ISO 8601
 * @property {Kind} kind `done`, `failed`, `cancelled` and `skipped` end the task, or
 *   without a task the channel
 * @property {string} text
 * @property {number|null} [current] steps that are done
 * @property {number|null} [total] steps that there are
 * @property {string} [task] the task that it is about; without it: the run
 * @property {string} [label] what the task is called for people
 * @property {Level} [level] without it: `info`
 * @property {Record<string, unknown>} [data] for programs
 *
 * @typedef {object} Bars the last event of every bar, however long ago
 * @property {ProgressEvent|null} run
 * @property {ProgressEvent[]} tasks
 *
 * @typedef {object} Answer what `replay` gives
 * @property {string} epoch the channel's
 * @property {number} seq number of the channel's last message
 * @property {ProgressEvent[]} events
 * @property {Bars} [state] where `events` do not tell all
 * @property {boolean} [cancel] somebody has asked the work to stop
 *
 * @typedef {Answer & {state: Bars}} Snapshot
 *
 * @typedef {Answer|ProgressEvent[]|Response} Given
 *
 * @typedef {"connecting"|"connected"|"polling"|"disconnected"|"finished"|"refused"} State
 *   `connected`: everything published so far has been delivered, and what comes will be;
 *   `polling`: the same, up to two seconds late, as there is no socket;
 *   `finished`: the last message there will be has been delivered;
 *   `refused`: `replay` has answered that it never will
 *
 * @callback Replay
 * @param {number|null} after answer what comes after this number; null: the state of all
 *   bars and the last messages
 * @param {AbortSignal} signal nobody waits for the answer any more
 * @param {string} epoch that number's; empty while there is none
 * @returns {Given|Promise<Given>} an `Answer`; or a list: the next messages,
 *   as many as it likes at a time and in the end none, from the first on if its own count is
 *   below that number; or the `Response` that holds one of them
 *
 * @typedef {object} Options
 * @property {string|string[]} url WebSocket of Webdis, ending in `/.json`; one socket
 *   serves all subscriptions that name the same. Several, in a list or with spaces between
 *   them, where each serves the same channels: any of them at first, the next when one is lost
 * @property {string} channel name of the Redis channel
 * @property {string|Replay} replay address that is asked with `?after=` and `epoch=` added, or a
 *   function that asks. 400, 401, 403, 404 and 410, also as the `status` of an
 *   error that it throws, end the subscription; whatever else fails is tried again
 * @property {number|null} [after] number of the last message already known; 0, if left out,
 *   for all that are kept; null for the state of all bars and the last messages
 * @property {string} [epoch] that message's
 * @property {(event: ProgressEvent) => void} [onEvent] called once a message
 * @property {(snapshot: Snapshot) => void} [onSnapshot] called when an answer has the state of
 *   all bars, before its events are delivered: it replaces what was known of them
 * @property {(state: State) => void} [onState] called when the state changes
 * @property {(error: Error & {status?: number}) => void} [onError] called when `replay` fails,
 *   refusals included; without it, the console tells
 * @property {AbortSignal} [signal] ends the subscription
 * @property {Partial<typeof defaultTimes>} [times] of the first subscription to a url
 */

/** All in milliseconds. */
export const defaultTimes = {
  /** Within which SUBSCRIBE is answered, the opening of the socket included. */
  answer: 5_000,
  /** Between two heartbeats; less than any proxy's time-out for idle connections. */
  heartbeat: 20_000,
  /** How long nothing may come before `replay` is asked whether that is so; with several urls. */
  silence: 20_000,
  /** Within which `replay` answers. */
  replay: 10_000,
  /** Between two questions to `replay` while there is no socket: half of it at least. */
  poll: 2_000,
  /** The upper bound of the first wait before a new attempt; doubled with each. */
  firstDelay: 250,
  longestDelay: 4_000,
  /** The same bound for a `replay` that fails again and again. */
  longestReplayDelay: 30_000,
};

/** With several urls another one may be well: whether this one is, is asked more often. */
const timesOfSeveral = { answer: 3_000, heartbeat: 2_000 };

const wakeEvents = ["pageshow", "visibilitychange", "online", "offline"];
const terminalKinds = ["done", "failed", "cancelled", "skipped"];
/** Answers that will not change: the question or who asks is wrong. */
const refusals = [400, 401, 403, 404, 410];

/** @type {Map<string, Connection>} */
const connections = new Map();

/**
 * Subscribe to a channel until a terminal message or `signal` ends it.
 *
 * @param {Options} options
 * @throws {TypeError} `after` is no sequence number; `url`, `channel` or `replay` is missing
 * @throws {SyntaxError} `url` is no WebSocket's
 */
export function subscribe({ url, times, ...options }) {
  const { after = 0, channel, replay, signal } = options;
  const urls = typeof url === "string" ? url.trim().split(/\s+/) : url;
  for (const [name, value] of Object.entries({ url: urls?.[0], channel, replay }))
    if (!value) throw new TypeError(`${name} is missing`);
  const key = urls.join(" ");
  if (after !== null && (!Number.isSafeInteger(after) || after < 0))
    throw new TypeError(`after is ${after}; a whole number from 0 is needed`);
  if (signal?.aborted) return;
  const usual = urls.length > 1 ? { ...defaultTimes, ...timesOfSeveral } : defaultTimes;
  const connection = connections.get(key) ?? new Connection(key, urls, { ...usual, ...times });
  connection.join(new Subscription(options, connection));
}

/**
 * Does an event of this kind end its bar?
 *
 * @param {Kind} kind
 * @returns {kind is "done"|"failed"|"cancelled"|"skipped"}
 */
export const isEnd = (kind) => terminalKinds.includes(kind);

/**
 * Does nothing follow in the channel?
 *
 * @param {ProgressEvent} event
 */
const isLast = ({ kind, task }) => task === undefined && isEnd(kind);

/**
 * Full jitter: all browsers lose a restarted server in the same moment.
 *
 * @param {number} first
 * @param {number} longest
 * @param {number} attempt from 0
 * @returns {number} milliseconds to wait
 */
const backOff = (first, longest, attempt) => Math.random() * Math.min(longest, first * 2 ** attempt);

/**
 * @param {string} message
 * @param {number} [status] of HTTP
 */
const failure = (message, status) => Object.assign(new Error(`replay ${message}`), { status });

/**
 * @param {unknown} answer
 * @returns {answer is Response}
 */
const isResponse = (answer) =>
  typeof (/** @type {Response|undefined} */ (answer)?.json) === "function";

/**
 * @param {string} address
 * @returns {Replay}
 */
const asking = (address) => (after, signal, epoch) => {
  const query = new URLSearchParams({ epoch });
  if (after !== null) query.set("after", `${after}`);
  return fetch(`${address}${address.includes("?") ? "&" : "?"}${query}`, { signal });
};

/**
 * Take what `replay` gave, whatever its form.
 *
 * @param {unknown} given
 * @returns {Promise<Partial<Answer> & {events: ProgressEvent[]}>}
 */
const read = async (given) => {
  if (isResponse(given)) {
    if (!given.ok) throw failure(`answered ${given.status}`, given.status);
    given = await given.json();
  }
  const answer = /** @type {Partial<Answer>} */ (Array.isArray(given) ? { events: given } : given);
  const { events } = answer ?? {};
  if (!Array.isArray(events)) throw failure("answered neither a list nor an object with events");
  return { ...answer, events };
};

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal ends it early
 * @returns {Promise<void>}
 */
const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });

/**
 * Call what the user gave: its error is the user's to see and stops nothing here.
 *
 * @param {() => void} callback
 */
const call = (callback) => {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
};

/** @typedef {ReturnType<typeof setTimeout>} Timer */

/** What one caller wants of one channel, and how far it has come. */
class Subscription {
  #options;
  #connection;
  #replay;
  /** Number of the last message that was delivered. */
  #last;
  /** It has asked for the state of all bars, or need not. */
  #joined;
  #epoch;
  /** Time of the last message that was delivered. */
  #ts = "";
  /** What was delivered before the server lost its end: number and time of the last one. */
  #before = { seq: 0, ts: "" };
  /** A push may be slower than the replay that told of its loss. */
  #pastEpochs = new Set();
  /** How many events of each writer were delivered; of those that send again. */
  #counts = new Map();
  /** Since when nothing was pushed, in milliseconds. */
  #quiet = 0;
  /** @type {State|undefined} */
  #state;
  /**
   * With a socket: from the answer to SUBSCRIBE until the socket is lost. Without: until
   * the next such answer.
   * @type {AbortController|undefined}
   */
  #session;
  /** Is this session one with a socket? */
  #live = false;
  /** What is pushed while a replay is under way. @type {ProgressEvent[]|undefined} */
  #waiting;

  /**
   * @param {Omit<Options, "url"|"times">} options
   * @param {Connection} connection
   */
  constructor(options, connection) {
    const { after = 0, epoch, replay, signal } = options;
    this.#options = options;
    this.#connection = connection;
    this.#replay = typeof replay === "string" ? asking(replay) : replay;
    this.#last = after ?? 0;
    this.#joined = after !== null;
    this.#epoch = epoch || undefined;
    signal?.addEventListener("abort", this.#end);
  }

  get channel() {
    return this.#options.channel;
  }

  /** Ask for what is missing until the channel is subscribed. */
  begin() {
    void this.#poll();
    this.#become("connecting");
  }

  /** @param {State} state */
  #become(state) {
    if (state === this.#state) return;
    this.#state = state;
    call(() => this.#options.onState?.(state));
  }

  /** The channel is subscribed, or a heartbeat was answered. */
  subscribed() {
    if (this.#live) return;
    this.#stop();
    this.#live = true;
    this.#session = new AbortController();
    this.#catchUp(this.#session);
  }

  /** @param {ProgressEvent} event */
  pushed(event) {
    this.#quiet = 0;
    if (!this.#live || !this.#session) return; // the next replay will bring it
    if (this.#pastEpochs.has(event.epoch)) return;
    if (this.#waiting) this.#waiting.push(event);
    else if (!this.#isAnew(event.epoch) && event.seq === this.#last + 1) this.#deliver(event);
    else this.#catchUp(this.#session); // a gap, a double, a new count: replay tells
  }

  /** A heartbeat was sent, so many milliseconds after the last. @param {number} elapsed */
  async beat(elapsed) {
    const session = this.#session;
    this.#quiet += elapsed;
    if (this.#quiet < this.#connection.times.silence || !this.#live || this.#waiting || !session)
      return;
    this.#quiet = 0.5; // a push sets it to 0
    const last = this.#last;
    await this.#catchUp(session);
    // There is news that was not pushed: this server is cut off from the others.
    if (session === this.#session && this.#last > last && this.#quiet) this.#connection.lost();
  }

  /** Tell whether the count began again, and follow it. @param {string|undefined} epoch */
  #isAnew(epoch) {
    if (!epoch || epoch === (this.#epoch ?? epoch)) return false;
    this.#pastEpochs.add(this.#epoch);
    this.#last = this.#before.seq = 0;
    this.#epoch = epoch;
    return true;
  }

  /**
   * Tell whether the server lost its last messages, as in a power cut, and uses their
   * numbers again: only the time tells the new ones from those that were delivered.
   *
   * @param {ProgressEvent|undefined} event the last one of a replay
   */
  #isBehind(event) {
    if (!event || event.seq >= this.#last) return false;
    this.#before = { seq: this.#last, ts: this.#ts };
    this.#last = 0;
    return true;
  }

  /** The socket is gone. */
  lost() {
    if (this.#live) {
      this.#stop();
      void this.#poll();
    }
    if (this.#state !== "polling") this.#become("disconnected");
  }

  #stop() {
    this.#session?.abort();
    this.#session = this.#waiting = undefined;
    this.#live = false;
  }

  #end = () => {
    this.#stop();
    this.#options.signal?.removeEventListener("abort", this.#end);
    this.#connection.leave(this);
  };

  #finish() {
    this.#end();
    this.#become("finished");
  }

  /**
   * Was it delivered before? After a failover a writer sends again, under other numbers, what the
   * new server lacks.
   *
   * @param {ProgressEvent} event
   */
  #isDouble({ id }) {
    if (!id) return false;
    const [writer, count] = id.split("-");
    if (Number(count) <= (this.#counts.get(writer) ?? 0)) return true;
    this.#counts.set(writer, Number(count));
    return false;
  }

  /** @param {ProgressEvent} event */
  #deliver(event) {
    this.#last = event.seq;
    this.#epoch = event.epoch;
    if (this.#isDouble(event)) return;
    if (event.seq <= this.#before.seq && event.ts <= this.#before.ts) return;
    this.#ts = event.ts;
    const session = this.#session;
    call(() => this.#options.onEvent?.(event));
    if (session === this.#session && isLast(event)) this.#finish();
  }

  async #poll() {
    const session = (this.#session = new AbortController());
    const { times } = this.#connection;
    while (session === this.#session) {
      // Not all at once: they have lost their sockets in the same moment.
      await pause((times.poll * (1 + Math.random())) / 2, session.signal);
      if (session === this.#session) await this.#catchUp(session);
    }
  }

  /**
   * Ask until nothing is missing between what was delivered and what is pushed.
   *
   * @param {AbortController} session
   */
  async #catchUp(session) {
    const { firstDelay, longestDelay, longestReplayDelay } = this.#connection.times;
    for (let failures = 0; ; ) {
      /** @type {ProgressEvent[]} */
      const waiting = (this.#waiting = []);
      let news = false;
      const answer = await this.#ask(session.signal).catch((error) => this.#failed(error, session));
      if (session !== this.#session) return;
      const { events = [], state, epoch, seq } = answer ?? {};
      if (state) call(() => this.#options.onSnapshot?.(/** @type {Snapshot} */ (answer)));
      if (session !== this.#session) return;
      const end = events.at(-1);
      // The number that was asked for belongs to the count before: ask again.
      if (
        this.#isAnew(epoch || end?.epoch) ||
        this.#isAnew(waiting.at(-1)?.epoch) ||
        this.#isBehind(end)
      )
        continue;
      if (answer) this.#joined = true;
      for (const event of events)
        if (event.seq > this.#last) {
          news = true;
          this.#deliver(event);
          if (session !== this.#session) return;
        }
      // What is left out of an answer to the end is gone.
      if (seq !== undefined && !events.length) this.#last = seq;
      for (const event of waiting)
        if (event.seq === this.#last + 1) {
          this.#deliver(event);
          if (session !== this.#session) return;
        }
      const missing = waiting.some((event) => event.seq > this.#last);
      const complete = seq === undefined ? waiting.length || !news : this.#last >= seq;
      if (answer && !missing && complete) {
        this.#waiting = undefined;
        if (state?.run && isLast(state.run)) this.#finish();
        else this.#become(this.#live ? "connected" : "polling");
        return;
      }
      if (news) {
        failures = 0;
        continue;
      }
      this.#become("disconnected");
      // One that answers and is behind what was pushed will soon not be.
      const longest = answer ? longestDelay : longestReplayDelay;
      await pause(backOff(firstDelay, longest, failures++), session.signal);
      if (session !== this.#session) return;
    }
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<Partial<Answer> & {events: ProgressEvent[]}>} rejects when it takes too
   *   long, or at `signal`
   */
  #ask(signal) {
    const { times } = this.#connection;
    const request = new AbortController();
    const timer = setTimeout(() => request.abort(), times.replay);
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    const answer = new Promise((resolve, reject) => {
      request.signal.addEventListener("abort", () =>
        reject(failure(`did not answer within ${times.replay / 1000} s`)),
      );
      const after = this.#joined ? this.#last : null;
      const given = this.#replay(after, request.signal, this.#epoch ?? "");
      Promise.resolve(given).then(read).then(resolve, reject); // who has it at hand needs no promise
    });
    return answer.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    });
  }

  /** @param {Error & {status?: number}} error @param {AbortController} session */
  #failed(error, session) {
    if (session !== this.#session) return;
    const { onError } = this.#options;
    call(() => (onError ? onError(error) : console.error(error)));
    if (session !== this.#session || !refusals.includes(error?.status ?? 0)) return;
    this.#end();
    this.#become("refused");
  }
}

/** The one socket to a url, or to one of several, opened again for as long as somebody listens. */
class Connection {
  times;
  #key;
  #urls;
  /** Counts on with each that is lost: nobody is sent back to one by force. */
  #at;
  /**
   * Who listens, by channel. Nobody: the channel is still subscribed on this socket,
   * as UNSUBSCRIBE must not be sent, and is left out on the next.
   * @type {Map<string, Set<Subscription>>}
   */
  #channels = new Map();
  /** The time-outs of SUBSCRIBE commands, by channel. @type {Map<string, Timer>} */
  #unanswered = new Map();
  /** @type {WebSocket|undefined} */
  #socket;
  /** @type {Timer|undefined} */
  #heartbeat;
  /** @type {Timer|undefined} */
  #retry;
  #attempt = 0;

  /**
   * @param {string} key
   * @param {string[]} urls
   * @param {typeof defaultTimes} times
   */
  constructor(key, urls, times) {
    this.#key = key;
    this.#urls = urls;
    this.#at = Math.floor(Math.random() * urls.length);
    this.times = times;
  }

  /** @param {Subscription} subscription */
  join(subscription) {
    const { channel } = subscription;
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners.add(subscription));
    if (!connections.has(this.#key)) {
      connections.set(this.#key, this);
      // Workers and Node.js have no pages: there, nothing wakes or hides.
      for (const type of wakeEvents) globalThis.addEventListener?.(type, this.#wake);
      globalThis.addEventListener?.("pagehide", this.#hide);
    }
    try {
      if (this.#socket) this.#ask(channel);
      else if (!this.#retry) this.#open();
    } catch (error) {
      this.leave(subscription);
      throw error;
    }
    subscription.begin();
  }

  /** @param {Subscription} subscription */
  leave(subscription) {
    if (!this.#channels.get(subscription.channel)?.delete(subscription)) return;
    if (this.#subscriptions().length) return;
    this.#close();
    connections.delete(this.#key);
    for (const type of wakeEvents) globalThis.removeEventListener?.(type, this.#wake);
    globalThis.removeEventListener?.("pagehide", this.#hide);
  }

  #subscriptions() {
    return [...this.#channels.values()].flatMap((listeners) => [...listeners]);
  }

  #open() {
    this.#retry = undefined;
    const url = /** @type {string} */ (this.#urls[this.#at % this.#urls.length]);
    const socket = new WebSocket(url);
    this.#socket = socket;
    for (const [channel, listeners] of this.#channels)
      if (listeners.size) this.#ask(channel);
      else this.#channels.delete(channel);

    const lost = () => {
      if (socket === this.#socket) this.lost();
    };
    socket.onerror = socket.onclose = lost;
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      for (const channel of this.#unanswered.keys()) this.#ask(channel);
      this.#heartbeat = setInterval(this.#beat, this.times.heartbeat);
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      try {
        this.#receive(data);
      } catch {
        lost();
      }
    };
  }

  /** Send SUBSCRIBE, once the socket is open, and expect its answer. @param {string} channel */
  #ask(channel) {
    if (!this.#unanswered.has(channel))
      this.#unanswered.set(channel, setTimeout(() => this.lost(), this.times.answer));
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(["SUBSCRIBE", channel]));
  }

  /**
   * @param {string} frame
   * @throws {Error} it is not what Webdis sends while all is well
   */
  #receive(frame) {
    // The outer key is the verb that the client typed: only the array counts.
    const [kind, channel, payload] = /** @type {any[]} */ (Object.values(JSON.parse(frame))[0]);
    const listeners = this.#channels.get(channel);
    if (!listeners) throw new Error("an unknown channel");
    if (kind === "subscribe") {
      clearTimeout(this.#unanswered.get(channel));
      this.#unanswered.delete(channel);
      for (const subscription of listeners) subscription.subscribed();
    } else if (kind === "message") {
      const event = JSON.parse(payload);
      if (!Number.isSafeInteger(event.seq)) throw new Error("no sequence number");
      for (const subscription of listeners) subscription.pushed(event);
    } else throw new Error("an unknown kind");
  }

  /** Open the next socket: this one is gone, or not told what the others are. */
  lost() {
    const { firstDelay, longestDelay } = this.times;
    this.#close();
    this.#at += 1;
    this.#retry = setTimeout(() => this.#open(), backOff(firstDelay, longestDelay, this.#attempt++));
    for (const subscription of this.#subscriptions()) subscription.lost();
  }

  #close() {
    const socket = this.#socket;
    this.#socket = undefined;
    clearTimeout(this.#retry);
    clearInterval(this.#heartbeat);
    for (const timer of this.#unanswered.values()) clearTimeout(timer);
    this.#unanswered.clear();
    this.#retry = undefined;
    socket?.close();
  }

  /** One channel speaks for all: they share one connection to Redis. */
  #beat = () => {
    this.#attempt = 0; // only now: a server that answers once and fails must not be hammered
    this.#check();
    if (this.#urls.length > 1)
      for (const subscription of this.#subscriptions()) subscription.beat(this.times.heartbeat);
  };

  #check() {
    const subscription = this.#subscriptions()[0];
    if (subscription) this.#ask(subscription.channel);
  }

  /** The machine, the page or the network may have been away. */
  #wake = (/** @type {Event} */ { type }) => {
    if (this.#socket) this.#check();
    // A page that is put aside is hidden after it was told so.
    else if (type !== "visibilitychange" || globalThis.document?.visibilityState !== "hidden") {
      clearTimeout(this.#retry);
      this.#open();
    }
  };

  /** Not every browser keeps a page with an open socket for back and forward. */
  #hide = () => {
    this.#close();
    for (const subscription of this.#subscriptions()) subscription.lost();
  };
}
