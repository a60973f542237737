/**
 * Receive every message of a Redis channel, once and in order, through a Webdis
 * WebSocket. Depends on nothing; lift it into your own project.
 *
 * Redis forgets what is published while nobody listens. So this subscribes,
 * *then* asks `replay` for everything after the last sequence number that it has
 * delivered, and does both again after every lost connection.
 *
 * What Webdis does decides how:
 * - When its Redis goes away, it sends one text frame and then keeps the socket
 *   open, silent, answering pings. So any unexpected frame is a lost connection,
 *   and the heartbeat is a repeated SUBSCRIBE: nothing else proves the way to Redis.
 * - UNSUBSCRIBE aborts it. So a subscription ends by not listening any more, and
 *   the socket is closed when its last subscription has ended.
 *
 * @typedef {"started"|"progress"|"message"|"done"|"failed"|"cancelled"} Kind
 * @typedef {object} ProgressEvent
 * @property {number} seq counts the channel's messages from 1
 * @property {string} [epoch] another one: the server lost its data, and counts anew
 * @property {string} ts time of publishing, UTC, ISO 8601
 * @property {Kind} kind
 * @property {string} text
 * @property {number|null} [current] steps that are done
 * @property {number|null} [total] steps that there are
 *
 * @typedef {"connecting"|"connected"|"disconnected"|"finished"} State
 *   `connected`: everything published so far has been delivered, and what comes
 *   will be; `finished`: the last message there will be has been delivered
 *
 * @typedef {object} Options
 * @property {string} url WebSocket of Webdis, ending in `/.json`; one socket
 *   serves all subscriptions that name the same
 * @property {string} channel name of the Redis channel
 * @property {number} [after] sequence number of the last message already known
 * @property {string} [epoch] that message's
 * @property {(after: number, signal: AbortSignal) => Promise<ProgressEvent[]>} replay
 *   returns the next messages after a sequence number, in order, as many as it likes
 *   at a time and in the end none; if its own count is below that number, it
 *   returns its messages from the first on
 * @property {(event: ProgressEvent) => void} onEvent called once a message
 * @property {(state: State) => void} [onState] called when the state changes
 * @property {AbortSignal} [signal] ends the subscription
 * @property {Partial<typeof defaultTimes>} [times] of the first subscription to a url
 */

/** All in milliseconds. */
export const defaultTimes = {
  /** Within which SUBSCRIBE is answered, the opening of the socket included. */
  answer: 5_000,
  /** Between two heartbeats; less than any proxy's time-out for idle connections. */
  heartbeat: 20_000,
  /** Within which `replay` answers. */
  replay: 10_000,
  /** The upper bound of the first wait before a new attempt; doubled with each. */
  firstDelay: 250,
  longestDelay: 4_000,
};

const wakeEvents = ["pageshow", "visibilitychange", "online", "offline"];
const terminalKinds = ["done", "failed", "cancelled"];

/** @type {Map<string, Connection>} */
const connections = new Map();

/**
 * Subscribe to a channel until a terminal message or `signal` ends it.
 *
 * @param {Options} options
 * @throws {TypeError} `after` is no sequence number
 * @throws {SyntaxError} `url` is no WebSocket's
 */
export function subscribe({ url, times, ...options }) {
  const { after = 0, signal } = options;
  if (!Number.isSafeInteger(after) || after < 0)
    throw new TypeError(`after is ${after}; a whole number from 0 is needed`);
  if (signal?.aborted) return;
  const connection = connections.get(url) ?? new Connection(url, { ...defaultTimes, ...times });
  connection.join(new Subscription(options, connection));
}

/**
 * Full jitter: all browsers lose a restarted server in the same moment.
 *
 * @param {typeof defaultTimes} times
 * @param {number} attempt from 0
 * @returns {number} milliseconds to wait
 */
const backOff = ({ firstDelay, longestDelay }, attempt) =>
  Math.random() * Math.min(longestDelay, firstDelay * 2 ** attempt);

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
  #last;
  #epoch;
  /** Time of the last message that was delivered. */
  #ts = "";
  /** What was delivered before the server lost its end: number and time of the last one. */
  #before = { seq: 0, ts: "" };
  /** A push may be slower than the replay that told of its loss. */
  #pastEpochs = new Set();
  /** @type {State|undefined} */
  #state;
  /** From the answer to SUBSCRIBE until the socket is lost. @type {AbortController|undefined} */
  #session;
  /** What is pushed while a replay is under way. @type {ProgressEvent[]|undefined} */
  #waiting;

  /**
   * @param {Omit<Options, "url"|"times">} options
   * @param {Connection} connection
   */
  constructor(options, connection) {
    this.#options = options;
    this.#connection = connection;
    this.#last = options.after ?? 0;
    this.#epoch = options.epoch || undefined;
    options.signal?.addEventListener("abort", this.#end);
  }

  get channel() {
    return this.#options.channel;
  }

  /** @param {State} state */
  become(state) {
    if (state === this.#state) return;
    this.#state = state;
    call(() => this.#options.onState?.(state));
  }

  /** The channel is subscribed, or a heartbeat was answered. */
  subscribed() {
    if (this.#session) return;
    this.#session = new AbortController();
    this.#catchUp(this.#session);
  }

  /** @param {ProgressEvent} event */
  pushed(event) {
    if (!this.#session) return; // the replay after the answer to SUBSCRIBE will bring it
    if (this.#pastEpochs.has(event.epoch)) return;
    if (this.#waiting) this.#waiting.push(event);
    else if (!this.#isAnew(event) && event.seq === this.#last + 1) this.#deliver(event);
    else this.#catchUp(this.#session); // a gap, a double, a new count: replay tells
  }

  /** Tell whether the count began again, and follow it. @param {ProgressEvent|undefined} event */
  #isAnew(event) {
    if (!event || event.epoch === (this.#epoch ?? event.epoch)) return false;
    this.#pastEpochs.add(this.#epoch);
    this.#last = this.#before.seq = 0;
    this.#epoch = event.epoch;
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
    this.#stop();
    this.become("disconnected");
  }

  #stop() {
    this.#session?.abort();
    this.#session = this.#waiting = undefined;
  }

  #end = () => {
    this.#stop();
    this.#options.signal?.removeEventListener("abort", this.#end);
    this.#connection.leave(this);
  };

  /** @param {ProgressEvent} event */
  #deliver(event) {
    this.#last = event.seq;
    this.#epoch = event.epoch;
    if (event.seq <= this.#before.seq && event.ts <= this.#before.ts) return;
    this.#ts = event.ts;
    const session = this.#session;
    call(() => this.#options.onEvent(event));
    if (session !== this.#session || !terminalKinds.includes(event.kind)) return;
    this.#end();
    this.become("finished");
  }

  /**
   * Ask until nothing is missing between what was delivered and what is pushed.
   *
   * @param {AbortController} session
   */
  async #catchUp(session) {
    const { times } = this.#connection;
    for (let failures = 0; ; ) {
      /** @type {ProgressEvent[]} */
      const waiting = (this.#waiting = []);
      let news = false;
      const events = await this.#replay(session.signal).catch(() => undefined);
      if (session !== this.#session) return;
      // The number that was asked for belongs to the count before: ask again.
      const end = events?.at(-1);
      if (this.#isAnew(end) || this.#isAnew(waiting.at(-1)) || this.#isBehind(end)) continue;
      for (const event of events ?? [])
        if (event.seq > this.#last) {
          news = true;
          this.#deliver(event);
          if (session !== this.#session) return;
        }
      for (const event of waiting)
        if (event.seq === this.#last + 1) {
          this.#deliver(event);
          if (session !== this.#session) return;
        }
      const missing = waiting.some(({ seq }) => seq > this.#last);
      if (events && !missing && (waiting.length || !news)) {
        this.#waiting = undefined;
        this.become("connected");
        return;
      }
      if (news) {
        failures = 0;
        continue;
      }
      this.become("disconnected");
      await pause(backOff(times, failures++), session.signal);
      if (session !== this.#session) return;
    }
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<ProgressEvent[]>} rejects when it takes too long, or at `signal`
   */
  #replay(signal) {
    const request = new AbortController();
    const timer = setTimeout(() => request.abort(), this.#connection.times.replay);
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    /** @type {Promise<ProgressEvent[]>} */
    const answer = new Promise((resolve, reject) => {
      request.signal.addEventListener("abort", reject);
      this.#options.replay(this.#last, request.signal).then((events) => {
        if (Array.isArray(events)) resolve(events);
        else reject();
      }, reject);
    });
    return answer.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    });
  }
}

/** The one socket to a url, opened again for as long as somebody listens. */
class Connection {
  times;
  #url;
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
   * @param {string} url
   * @param {typeof defaultTimes} times
   */
  constructor(url, times) {
    this.#url = url;
    this.times = times;
  }

  /** @param {Subscription} subscription */
  join(subscription) {
    const { channel } = subscription;
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners.add(subscription));
    if (!connections.has(this.#url)) {
      connections.set(this.#url, this);
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
    subscription.become("connecting");
  }

  /** @param {Subscription} subscription */
  leave(subscription) {
    if (!this.#channels.get(subscription.channel)?.delete(subscription)) return;
    if (this.#subscriptions().length) return;
    this.#close();
    connections.delete(this.#url);
    for (const type of wakeEvents) globalThis.removeEventListener?.(type, this.#wake);
    globalThis.removeEventListener?.("pagehide", this.#hide);
  }

  #subscriptions() {
    return [...this.#channels.values()].flatMap((listeners) => [...listeners]);
  }

  #open() {
    this.#retry = undefined;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    for (const [channel, listeners] of this.#channels)
      if (listeners.size) this.#ask(channel);
      else this.#channels.delete(channel);

    const lost = () => {
      if (socket === this.#socket) this.#lost();
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
      this.#unanswered.set(channel, setTimeout(() => this.#lost(), this.times.answer));
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

  #lost() {
    this.#close();
    this.#retry = setTimeout(() => this.#open(), backOff(this.times, this.#attempt++));
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
  };

  #check() {
    const subscription = this.#subscriptions()[0];
    if (subscription) this.#ask(subscription.channel);
  }

  /** The machine, the page or the network may have been away. */
  #wake = () => {
    if (this.#socket) this.#check();
    else {
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
