/**
 * How far a run is, from what its channel says: one object for a page to show.
 *
 * @typedef {import("./progress.js").ProgressEvent} ProgressEvent
 * @typedef {import("./progress.js").Snapshot} Snapshot
 * @typedef {import("./progress.js").Options} Options
 * @typedef {import("./progress.js").State} ConnectionState
 *
 * @typedef {"waiting"|"running"|"done"|"failed"|"cancelled"|"skipped"|"cut off"} BarState
 *   `waiting`: it has said nothing yet; `cut off`: the run has ended before this task
 *
 * @typedef {object} Gap stands among the messages where some are missing: they are no
 *   longer kept, or are older than what was asked for
 * @property {"gap"} kind
 * @property {number} seq of the message after it
 *
 * @typedef {object} FollowOptions
 * @property {(run: Run) => void} [onChange] called after changes, once for all of a tenth of a second;
 *   not after `signal` has stopped
 */

import { isEnd, subscribe } from "./progress.js";

/** Messages that a run keeps; the oldest go first. */
export const MOST_MESSAGES = 10_000;
/** Time over which the pace is taken. */
const PACE_SECONDS = 60;

/** Time for which changes are collected. */
const CHANGE_MILLISECONDS = 100;

/** How far a task is, or the run itself. */
export class Bar {
  /** Name of the task; undefined: the run. @type {string|undefined} */
  task;
  /** What it is called for people. */
  label = "";
  /** @type {BarState} */
  state = "waiting";
  /** The last text that it said. */
  text = "";
  /** Steps that are done. @type {number|null} */
  current = null;
  /** Steps that there are. @type {number|null} */
  total = null;
  /** Time of its start, where the page has heard of it: milliseconds since 1970. @type {number|null} */
  startedAt = null;
  /** Time of its last event: milliseconds since 1970. @type {number|null} */
  changedAt = null;
  /** Its last event. @type {ProgressEvent|undefined} */
  last;
  /** Steps done at some moments of the last minute. @type {{seconds: number, current: number}[]} */
  #samples = [];
  #secondsAtLast = 0;

  /** @param {string} [task] */
  constructor(task) {
    this.task = task;
    this.label = task ?? "";
  }

  get ended() {
    return this.state !== "waiting" && this.state !== "running";
  }

  /** Whole percent from 0 to 100; null while it is not known. */
  get percent() {
    if (this.current === null || !this.total) return this.state === "done" ? 100 : null;
    return Math.min(100, Math.floor((100 * this.current) / this.total));
  }

  /** Seconds that the rest takes at the pace of the last minute; null while nobody can know. */
  get secondsLeft() {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (this.state !== "running" || !this.total || !first || !last) return null;
    const seconds = last.seconds - first.seconds;
    const steps = last.current - first.current;
    const rest = this.total - last.current;
    if (seconds < 1 || steps <= 0 || rest <= 0) return null;
    const pace = seconds / steps;
    // It counts down between two events, though not past the step that is under way.
    const passed = performance.now() / 1000 - this.#secondsAtLast;
    return Math.max(rest * pace - passed, (rest - 1) * pace, 0);
  }

  /**
   * Take an event, unless a later one was taken.
   *
   * @param {ProgressEvent} event
   */
  take(event) {
    const { seq, ts, kind, text, label, current = null, total = null } = event;
    const at = Date.parse(ts);
    if (this.last && seq <= this.last.seq && ts <= this.last.ts) {
      if (kind === "started") this.startedAt ??= at; // the state of all bars did not tell
      return;
    }
    this.last = event;
    if (text) this.text = text;
    if (label) this.label = label;
    if (kind === "started") {
      this.startedAt = at;
      this.#samples = [];
    }
    this.changedAt = at;
    this.current = current;
    this.total = total;
    this.state = isEnd(kind) ? kind : "running";
    if (current !== null || kind === "started") this.#sample(at / 1000, current ?? 0);
  }

  /** @param {number} seconds @param {number} current */
  #sample(seconds, current) {
    const last = this.#samples.at(-1);
    if (last?.current === current) return;
    if (last && current < last.current) this.#samples = [];
    // More than one a second adds nothing.
    if (last && this.#samples.length > 1 && seconds - (this.#samples.at(-2)?.seconds ?? 0) < 1)
      this.#samples.pop();
    this.#samples.push({ seconds, current });
    this.#secondsAtLast = performance.now() / 1000;
    while (this.#samples.length > 2 && seconds - (this.#samples[1]?.seconds ?? 0) > PACE_SECONDS)
      this.#samples.shift();
  }
}

/** A run: its own bar, its tasks and what they have said. */
export class Run extends Bar {
  /** By name, in the order of their beginning. @type {Map<string, Bar>} */
  tasks = new Map();
  /** What was said, at most `MOST_MESSAGES`. @type {(ProgressEvent|Gap)[]} */
  messages = [];
  /** How many of them were dropped as too many. */
  dropped = 0;
  /** Number of the last event. */
  seq = 0;
  /** The count of the last event of each writer; of those that send again. */
  #counts = new Map();
  /** The channel's. @type {string|undefined} */
  epoch;
  /** Somebody has asked the work to stop. */
  cancelRequested = false;
  /** How well the page hears the run. @type {ConnectionState|"paused"} */
  connection = "connecting";
  /** Why `replay` failed last. @type {(Error & {status?: number})|undefined} */
  error;

  /**
   * Take the state of all bars: it replaces what was known.
   *
   * @param {Snapshot} snapshot
   */
  restore({ state, epoch, cancel }) {
    this.#follow(epoch);
    this.cancelRequested = Boolean(cancel);
    const known = this.tasks;
    this.tasks = new Map();
    this.last = undefined;
    if (state.run) this.take(state.run);
    for (const event of state.tasks) {
      if (event.task === undefined) continue;
      const bar = known.get(event.task) ?? new Bar(event.task);
      bar.last = undefined;
      bar.take(event);
      this.tasks.set(event.task, bar);
    }
    this.#cutOff();
  }

  /**
   * Take an event, for its bar and for the messages.
   *
   * @param {ProgressEvent} event
   */
  receive(event) {
    const { seq, epoch, task } = event;
    this.#follow(epoch);
    const isNext = this.#isNext(event);
    const gap = seq > this.seq + 1 && !isNext;
    this.seq = seq;
    if (gap) this.#say({ kind: "gap", seq });
    if (task === undefined) this.take(event);
    else {
      const bar = this.tasks.get(task) ?? new Bar(task);
      this.tasks.set(task, bar);
      bar.take(event);
    }
    this.#cutOff();
    if (event.text) this.#say(event);
  }

  /**
   * Tell whether its writer has said nothing between the one before and this: then numbers between
   * them are of what it sent again, after a failover.
   *
   * @param {ProgressEvent} event
   */
  #isNext({ id }) {
    if (!id) return false;
    const [writer, count] = id.split("-");
    const before = this.#counts.get(writer);
    this.#counts.set(writer, Number(count));
    return before === Number(count) - 1;
  }

  /** Forget the bars if the channel has begun again. @param {string|undefined} epoch */
  #follow(epoch) {
    if (epoch && this.epoch && epoch !== this.epoch) {
      this.tasks.clear();
      this.last = undefined;
      this.state = "waiting";
      this.current = this.total = null;
      this.cancelRequested = false;
      this.seq = 0;
    }
    this.epoch = epoch || this.epoch;
  }

  #cutOff() {
    if (this.ended)
      for (const bar of this.tasks.values()) if (!bar.ended) bar.state = "cut off";
  }

  /** @param {ProgressEvent|Gap} message */
  #say(message) {
    const before = this.messages.at(-1);
    // Steps that say the same say it once; the bar tells them apart.
    if (
      message.kind === "progress" && before && before.kind !== "gap" &&
      message.text === before.text && message.task === before.task
    )
      return;
    this.messages.push(message);
    // Not at each message: that moves all of them.
    if (this.messages.length < MOST_MESSAGES * 1.1) return;
    this.dropped += this.messages.splice(0, this.messages.length - MOST_MESSAGES).length;
  }
}

/**
 * Subscribe to a channel and keep a run up to date with what it says.
 *
 * @param {Options & FollowOptions} options as for `subscribe`; `after` is null if left out: the
 *   state of all bars and the last messages
 * @param {Run} [run] one to go on with
 * @returns {Run} the same object all the time
 * @throws {TypeError|SyntaxError} as `subscribe`
 */
export function follow({ onChange, ...options }, run = new Run()) {
  const { after, onEvent, onSnapshot, onState, onError, signal } = options;
  run.seq ||= after ?? 0; // what the page has already is no gap
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let telling;
  const changed = () => {
    telling ??= setTimeout(() => {
      telling = undefined;
      if (!signal?.aborted) onChange?.(run);
    }, CHANGE_MILLISECONDS);
  };
  subscribe({
    after: null,
    ...options,
    // Whatever the caller's functions raise, the change is told.
    onEvent: (event) => {
      run.receive(event);
      changed();
      onEvent?.(event);
    },
    onSnapshot: (snapshot) => {
      run.restore(snapshot);
      changed();
      onSnapshot?.(snapshot);
    },
    onState: (state) => {
      run.connection = state;
      if (state !== "refused" && state !== "disconnected") run.error = undefined;
      changed();
      onState?.(state);
    },
    onError: (error) => {
      run.error = error;
      changed();
      if (onError) onError(error);
      else console.error(error);
    },
  });
  return run;
}
