/**
 * `<run-progress>`: a run on a page, with its bar, its tasks, its messages and its connection.
 *
 * ```html
 * <run-progress url="wss://example.org/.json" channel="progress:…" replay="/events">
 *   <button slot="actions">Cancel</button>
 *   <p slot="result">What the run has made</p>
 *   <noscript>What is seen without JavaScript</noscript>
 * </run-progress>
 * ```
 *
 * It brings its style as a constructed style sheet, so that no Content-Security-Policy
 * has to allow any, and shows texts as text. It is light or dark as `color-scheme` says.
 *
 * @typedef {import("./progress.js").ProgressEvent} ProgressEvent
 * @typedef {import("./progress.js").Replay} Replay
 * @typedef {import("./run.js").Bar} Bar
 * @typedef {import("./run.js").Gap} Gap
 */

import { css } from "./style.js";
import { follow, MOST_MESSAGES, Run } from "./run.js";

/** What the element says of itself: change these to have it in another language. */
export const words = {
  run: "Run",
  progress: "Progress",
  tasks: "Tasks",
  messages: "Messages",
  filter: "Filter messages",
  level: "Level",
  levels: { debug: "all levels", info: "info and above", warning: "warnings and errors", error: "errors" },
  copy: "Copy",
  copied: "Copied",
  download: "Download",
  none: "No message yet.",
  unmatched: "No message fits the filter.",
  earlier: "Earlier messages are not shown.",
  missing: "Some messages are no longer kept.",
  more: "more",
  of: "of",
  took: "took",
  ended: "ended at",
  left: "left",
  soFar: "so far",
  about: "about",
  connection: {
    connecting: "connecting",
    connected: "connected",
    polling: "asking every 1 to 2 seconds, as no connection stays open",
    disconnected: "disconnected, trying again",
    finished: "closed, nothing more will come",
    refused: "closed, this page may not listen any more: load it again",
    paused: "paused, what is said meanwhile is asked for later",
  },
  /** In place of `refused`, by what `replay` has answered. */
  refusals: {
    401: "closed, you have to log in: do so and load this page again",
    403: "closed, you may not see this run",
    404: "closed, there is no such run",
    410: "closed, this run is no longer kept",
  },
};

const levels = ["debug", "info", "warning", "error"];
/** One that is not known here is `info`, as none is. @param {ProgressEvent} event */
const levelOf = ({ level = "info" }) => (levels.includes(level) ? level : "info");
/** In which order tasks are shown: failures first, then what is under way. */
const order = ["failed", "cancelled", "cut off", "running", "waiting", "done", "skipped"];
/** All that the page has to lay out, however much there is. */
const MOST_TASKS = 200;
const ROWS = 200;
const CHUNK = 50;
// A screen reader needs about this long to read a message aloud.
const ANNOUNCEMENT_MILLISECONDS = 4000;

/**
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node|string)} children
 */
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

/** A bar as people see it, and as screen readers do. @param {string} label */
const makeBar = (label) =>
  make(
    "div",
    { class: "bar", part: "bar", role: "progressbar", "aria-label": label, "aria-valuemax": "100" },
    make("i", { part: "fill" }),
  );

/** @param {HTMLElement} element @param {Bar} bar */
const fill = (element, { percent, state, startedAt }) => {
  element.classList.toggle("unknown", percent === null && state === "running" && startedAt !== null);
  if (percent === null) element.removeAttribute("aria-valuenow");
  else element.setAttribute("aria-valuenow", `${percent}`);
  const { style } = /** @type {HTMLElement} */ (element.firstElementChild);
  style.width = `${percent ?? 0}%`;
};

/** Set a text only where it is another one. @param {Node} node @param {string} text */
const say = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

/** @param {number|null} seconds */
const duration = (seconds) => {
  if (seconds === null) return "";
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
};

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
/** @param {string|number} time */
const localTime = (time) => {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : clock.format(date);
};

// Filled with spaces as wide as a digit: it ends where the bar ends, and begins where it began.
/** @param {number|null} percent */
const percentage = (percent) => (percent === null ? "" : `${percent} %`.padStart(5, "\u2007"));

/** @type {CSSStyleSheet|undefined} */
let sheet;

/**
 * The element. Attributes: `url`, `channel`, `replay`, `after` and `epoch` as the options of
 * `subscribe` (without `after`: the state of all bars and the last messages), `label` for
 * people, `messages-only` without bars, `tasks` keeps room for tasks from the beginning, so that
 * nothing moves when they come. It sets `state`, the run's.
 *
 * Events, which bubble: `run-event` for each event of the channel (`detail`: the event),
 * `run-change` when what is shown has changed, and `run-end` once (`detail`: the run).
 */
export class RunProgress extends (globalThis.HTMLElement ?? /** @type {any} */ (class {})) {
  static observedAttributes = ["url", "channel", "replay", "label"];

  /** What is shown. */
  run = new Run();
  /** Asks for what is missing, in place of the attribute. @type {Replay|undefined} */
  #replay;
  /** @type {AbortController|undefined} */
  #subscription;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #ticking;
  #ended = false;
  #paused = false;
  /** What it listens to. @type {(string|Replay|null)[]} */
  #source = [];

  #announcer = make("p", { id: "announcer", class: "hidden", "aria-live": "polite" });
  #announcement = "";
  #tenths = 0;
  #announced = "";
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #silence;

  #status = make("strong", { id: "status", part: "status" });
  #text = make("span", { id: "text", part: "text", dir: "auto" });
  #percent = make("strong", { id: "percent", part: "percent" });
  #bar = makeBar(words.progress);
  #steps = make("span");
  #eta = make("span", { id: "eta" });
  #connection = make("span", { id: "state", part: "connection", role: "status" });

  #counts = make("p", { class: "counts" });
  #list = make("ul", { part: "tasks", tabindex: "0", "aria-label": words.tasks });
  #more = make("p", { class: "muted" });
  #tasks = make("div", { hidden: "", class: "tasks" }, this.#counts, this.#list, this.#more);
  /** @type {Map<Bar, HTMLElement>} */
  #taskRows = new Map();

  #filter = /** @type {HTMLInputElement} */ (
    make("input", { type: "search", placeholder: words.filter, "aria-label": words.filter })
  );
  #level = /** @type {HTMLSelectElement} */ (make("select", { "aria-label": words.level }));
  #log = make("ol", { id: "messages", part: "messages", tabindex: "0", "aria-label": words.messages });
  /** The messages that the filter lets through. @type {(ProgressEvent|Gap)[]} */
  #shown = [];
  /** How many messages of the run have been through the filter, dropped ones included. */
  #filtered = 0;
  /** The part of them that has rows: from, up to. */
  #from = 0;
  #to = 0;
  #follows = true;
  #scrolledTo = 0;

  constructor() {
    super();
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(css);
    }
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    for (const level of levels)
      this.#level.append(make("option", { value: level }, words.levels[/** @type {"info"} */ (level)]));
    const copy = make("button", { type: "button" }, words.copy);
    const download = make("button", { type: "button" }, words.download);
    root.append(
      make(
        "div",
        { class: "run" },
        make("p", { class: "line" }, this.#status, this.#percent),
        this.#bar,
        make("p", {}, this.#text),
      ),
      make("p", { class: "line muted pace" }, this.#steps, this.#eta),
      make("p", { class: "muted" }, this.#connection),
      make("slot", { name: "actions" }),
      this.#tasks,
      make("slot", { name: "result" }),
      make("div", { class: "tools", part: "tools" }, this.#filter, this.#level, copy, download),
      this.#log,
      this.#announcer,
    );
    this.#filter.addEventListener("input", () => this.#refilter());
    this.#level.addEventListener("change", () => this.#refilter());
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    copy.addEventListener("click", () => void this.#copy(copy));
    download.addEventListener("click", () => this.#download());
  }

  /** Address that is asked for what is missing, or a function that asks. @returns {string|Replay} */
  get replay() {
    return this.#replay ?? this.getAttribute("replay") ?? "";
  }

  set replay(value) {
    this.#replay = typeof value === "string" ? undefined : value;
    if (typeof value === "string") this.setAttribute("replay", value);
    else this.#update();
  }

  connectedCallback() {
    // Who has set it before the element was defined has set another property, of the object.
    const early = Object.getOwnPropertyDescriptor(this, "replay");
    if (early && Reflect.deleteProperty(this, "replay")) this.replay = early.value;
    this.#update();
    this.#render();
  }

  disconnectedCallback() {
    this.#subscription?.abort();
    this.#subscription = undefined;
  }

  /** Stop listening, until `resume`. */
  pause() {
    if (this.run.ended) return;
    this.disconnectedCallback();
    this.#paused = true;
    this.run.connection = "paused";
    this.#render();
  }

  /** Listen again, and ask for what was said meanwhile. */
  resume() {
    this.#paused = false;
    this.#update();
  }

  attributeChangedCallback() {
    this.#bar.setAttribute("aria-label", this.getAttribute("label") ?? words.progress);
    // Who sets one attribute sets the others, too.
    queueMicrotask(() => this.#update());
  }

  /** Another channel is another run; moved on the page, it goes on from where it was. */
  #update() {
    if (!this.isConnected) return;
    const source = [this.getAttribute("url"), this.getAttribute("channel"), this.replay];
    if (source.some((part, at) => part !== this.#source[at])) {
      if (this.#source.length) this.#clear();
      this.#source = source;
    }
    if (!this.#subscription) this.#subscribe();
  }

  #clear() {
    this.disconnectedCallback();
    this.run = new Run();
    if (this.#paused) this.run.connection = "paused";
    this.#ended = false;
    this.#taskRows.clear();
    this.#list.replaceChildren();
    this.#refilter();
  }

  #subscribe() {
    const [url, channel] = ["url", "channel"].map((name) => this.getAttribute(name));
    if (!url || !channel || !this.replay || this.#ended || this.#paused) return;
    const stop = (this.#subscription = new AbortController());
    const after = this.getAttribute("after");
    const { seq, epoch } = this.run;
    follow(
      {
        url,
        channel,
        replay: this.replay,
        after: seq || (after === null ? null : Number(after)),
        epoch: epoch ?? this.getAttribute("epoch") ?? undefined,
        signal: stop.signal,
        onEvent: (event) => this.#dispatch("run-event", event),
        onChange: () => this.#render(),
      },
      this.run,
    );
  }

  /** @param {string} type @param {unknown} detail */
  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { bubbles: true, composed: true, detail }));
  }

  #render() {
    clearTimeout(this.#ticking);
    const { run } = this;
    const { state, text, percent, current, total, ended, startedAt, changedAt, secondsLeft } = run;
    this.setAttribute("state", state);
    say(this.#status, state);
    say(this.#text, text);
    say(this.#percent, percentage(percent));
    fill(this.#bar, run);
    const why = words.refusals[/** @type {404} */ (run.error?.status)];
    say(this.#connection, (run.connection === "refused" && why) || words.connection[run.connection]);
    this.#connection.dataset.state = run.connection;
    say(this.#steps, current === null || !total ? "" : `${current} ${words.of} ${total}`);
    let time = "";
    if (startedAt && !ended) time = `${duration((Date.now() - startedAt) / 1000)} ${words.soFar}`;
    if (secondsLeft !== null)
      time += `${time && ", "}${words.about} ${duration(secondsLeft)} ${words.left}`;
    if (ended && startedAt && changedAt)
      time = `${words.took} ${duration((changedAt - startedAt) / 1000)}, ${words.ended} ${localTime(changedAt)}`;
    say(this.#eta, time);
    this.#renderTasks();
    this.#renderMessages();
    this.#announce();
    this.#dispatch("run-change", run);
    if (ended && !this.#ended) {
      this.#ended = true;
      this.#dispatch("run-end", run);
    }
    // Time goes on although nobody says anything.
    if (time && !ended && this.#subscription)
      this.#ticking = setTimeout(() => this.#render(), 1000);
  }

  #renderTasks() {
    const bars = [...this.run.tasks.values()];
    /** @type {Record<string, number>} */
    const counts = {};
    for (const { state } of bars) counts[state] = (counts[state] ?? 0) + 1;
    bars.sort((one, two) => order.indexOf(one.state) - order.indexOf(two.state));
    const told = order.filter((state) => counts[state]).map((state) => `${counts[state]} ${state}`);
    this.#tasks.hidden = !bars.length;
    say(this.#counts, told.join(", "));
    const first = bars.slice(0, MOST_TASKS);
    say(this.#more, bars.length > MOST_TASKS ? `+ ${bars.length - MOST_TASKS} ${words.more}` : "");
    const kept = new Set(first);
    for (const [bar, row] of this.#taskRows)
      if (!kept.has(bar)) {
        row.remove();
        this.#taskRows.delete(bar);
      }
    let next = this.#list.firstElementChild;
    for (const bar of first) {
      const row = this.#taskRows.get(bar) ?? this.#makeTask(bar);
      this.#showTask(row, bar);
      if (row === next) next = next.nextElementSibling;
      else this.#list.insertBefore(row, next);
    }
  }

  /** @param {Bar} bar */
  #makeTask(bar) {
    const row = make(
      "li",
      { part: "task" },
      make("b", { dir: "auto" }),
      make("span", { class: "status" }),
      makeBar(bar.label),
      make("span", { class: "percent" }),
      make("span", { class: "text", dir: "auto" }),
    );
    this.#taskRows.set(bar, row);
    return row;
  }

  /** @param {HTMLElement} row @param {Bar} bar */
  #showTask(row, bar) {
    const [label, status, element, percent, text] = /** @type {HTMLElement[]} */ ([...row.children]);
    if (!label || !status || !element || !percent || !text) return;
    row.dataset.state = bar.state;
    say(label, bar.label);
    say(status, bar.state);
    element.setAttribute("aria-label", bar.label);
    fill(element, bar);
    say(percent, percentage(bar.percent));
    say(text, bar.text);
  }

  /** @param {ProgressEvent|Gap} message */
  #matches(message) {
    if (message.kind === "gap") return !this.#filter.value;
    const { text, task = "", label = "" } = message;
    if (levels.indexOf(levelOf(message)) < levels.indexOf(this.#level.value)) return false;
    const wanted = this.#filter.value.toLowerCase();
    return `${label || task} ${text}`.toLowerCase().includes(wanted);
  }

  #refilter() {
    this.#shown = [];
    this.#filtered = this.#from = this.#to = 0;
    this.#follows = true;
    this.#log.replaceChildren();
    this.#renderMessages();
  }

  #renderMessages() {
    const { messages, dropped } = this.run;
    this.#log.dataset.empty = messages.length ? words.unmatched : words.none;
    const fresh = messages.slice(Math.max(0, this.#filtered - dropped));
    this.#filtered = dropped + messages.length;
    for (const message of fresh) if (this.#matches(message)) this.#shown.push(message);
    const surplus = this.#shown.length - MOST_MESSAGES;
    if (surplus > CHUNK && (this.#follows || this.#from > surplus)) {
      this.#shown.splice(0, surplus);
      this.#from = Math.max(0, this.#from - surplus);
      this.#to = Math.max(0, this.#to - surplus);
    }
    if (!this.#follows) {
      this.#append(ROWS - (this.#to - this.#from));
      return;
    }
    if (this.#shown.length - this.#to > ROWS) {
      this.#log.replaceChildren();
      this.#from = this.#to = this.#shown.length - ROWS;
    }
    if (this.#to === this.#shown.length) return;
    this.#append(this.#shown.length - this.#to);
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  /** Add rows at the end, and take as many away at the beginning as are too many. @param {number} count */
  #append(count) {
    const more = this.#shown.slice(this.#to, this.#to + count);
    this.#log.append(...more.map((message) => this.#makeRow(message)));
    this.#to += more.length;
    for (; this.#to - this.#from > ROWS; this.#from++) this.#log.firstElementChild?.remove();
  }

  /** Add earlier rows, and take away as many at the end; what is read stays where it is. */
  #prepend() {
    const from = Math.max(0, this.#from - CHUNK);
    const more = this.#shown.slice(from, this.#from);
    const { scrollHeight } = this.#log;
    this.#log.prepend(...more.map((message) => this.#makeRow(message)));
    this.#log.scrollTop += this.#log.scrollHeight - scrollHeight;
    this.#from = from;
    for (; this.#to - this.#from > ROWS; this.#to--) this.#log.lastElementChild?.remove();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    const back = scrollTop < this.#scrolledTo;
    const atEnd = scrollTop + clientHeight > scrollHeight - 40;
    this.#scrolledTo = scrollTop;
    // Only a reader scrolls back; that the end has moved on means nothing.
    if (back && !atEnd) this.#follows = false;
    if (back && scrollTop < clientHeight && this.#from) this.#prepend();
    else if (atEnd && this.#to < this.#shown.length && !this.#follows) {
      const row = this.#log.lastElementChild;
      const before = row?.getBoundingClientRect().top ?? 0;
      this.#append(CHUNK);
      this.#log.scrollTop += (row?.getBoundingClientRect().top ?? 0) - before;
    } else if (atEnd) this.#follows = true;
    this.#scrolledTo = this.#log.scrollTop;
  }

  /** @param {ProgressEvent|Gap} message */
  #makeRow(message) {
    if (message.kind === "gap")
      return make("li", { class: "muted" }, this.#shown[0] === message ? words.earlier : words.missing);
    const { seq, kind, ts, text, task, label = task } = message;
    const data = { "data-seq": `${seq}`, "data-kind": kind, "data-level": levelOf(message) };
    return make(
      "li",
      { part: "message", value: `${seq}`, ...data },
      make("time", { datetime: ts }, localTime(ts)),
      ...(label ? [make("b", { dir: "auto" }, label)] : []),
      make("span", { class: "text", dir: "auto" }, text),
    );
  }

  /** The messages that are shown, as lines with local times. */
  #lines() {
    return this.#shown
      .flatMap((message) => {
        if (message.kind === "gap") return [];
        const { ts, task, label = task, text } = message;
        const time = new Date(ts).toLocaleString("sv"); // 2026-01-31 12:00:00
        return `${time} ${levelOf(message)} ${label ? `${label}: ` : ""}${text}\n`;
      })
      .join("");
  }

  /** @param {HTMLElement} button */
  async #copy(button) {
    const text = this.#lines();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages without HTTPS have no clipboard.
      const area = /** @type {HTMLTextAreaElement} */ (make("textarea", {}, text));
      this.shadowRoot?.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    this.announce(words.copied);
    say(button, words.copied);
    setTimeout(() => say(button, words.copy), 2000);
  }

  #download() {
    const address = URL.createObjectURL(new Blob([this.#lines()], { type: "text/plain" }));
    const name = (this.getAttribute("label") ?? "messages").replace(/[^\p{L}\p{N}]+/gu, "-");
    make("a", { href: address, download: `${name}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  /** Each tenth of the way, the end, a task that failed; where no steps are counted, the last text. */
  #announce() {
    const { percent, state, ended, text, tasks } = this.run;
    const tenths = Math.floor((percent ?? 0) / 10);
    const failed = [...tasks.values()].findLast((bar) => bar.state === "failed");
    let what = ended ? `${state}: ${text}` : "";
    if (!ended && percent === null) what = text;
    else if (!ended && tenths !== this.#tenths) what = `${percent} %, ${text}`;
    else if (!ended && failed) what = `${failed.label} failed: ${failed.text}`;
    this.#tenths = tenths;
    if (!what || what === this.#announced) return;
    this.#announced = what;
    this.announce(what);
  }

  /** Have a text read aloud: the latest only, for many must not queue up. @param {string} text */
  announce(text) {
    this.#announcement = text;
    if (this.#silence) return;
    const speak = () => {
      this.#silence = undefined;
      if (!this.#announcement) return;
      this.#announcer.textContent = this.#announcement;
      this.#announcement = "";
      this.#silence = setTimeout(speak, ANNOUNCEMENT_MILLISECONDS);
    };
    speak();
  }
}

/**
 * Make `<run-progress>` known to the page.
 *
 * @param {string} [name] another name for it
 */
export function defineRunProgress(name = "run-progress") {
  if (!customElements.get(name)) customElements.define(name, RunProgress);
}
