/** What the pages share: a subscription as the template describes it, and words for people. */

import { subscribe } from "./webdis-progress/progress.js";

/** @typedef {import("./webdis-progress/progress.js").ProgressEvent} ProgressEvent */

const words = {
  connecting: "connecting",
  connected: "connected",
  polling: "asking every 2 seconds",
  disconnected: "disconnected, trying again",
  finished: "closed, nothing more will come",
  refused: "closed, this page is no longer yours: load it again",
};
// A screen reader needs about this long to read a message aloud.
const announcementMilliseconds = 4000;

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Subscribe as the data attributes of an element say; #state tells the connection's state.
 *
 * @param {HTMLElement} source
 * @param {(event: ProgressEvent) => void} onEvent
 */
export function listen(source, onEvent) {
  const { url = "", channel = "", replay = "", after, epoch } = source.dataset;
  const state = element("state");
  subscribe({
    url,
    channel,
    after: Number(after),
    epoch,
    replay,
    onEvent,
    onState: (value) => {
      state.textContent = words[value];
    },
  });
}

/**
 * Append a text to the messages, as text and never as HTML.
 *
 * @param {ProgressEvent} event
 * @param {string} tag
 * @param {string} [className]
 */
export function show(event, tag, className = "") {
  const item = document.createElement(tag);
  item.className = className;
  if (item instanceof HTMLLIElement) item.value = event.seq; // the same after a reload
  item.dir = "auto"; // right-to-left marks of one message end with it
  item.dataset.seq = String(event.seq);
  item.dataset.kind = event.kind;
  item.textContent = event.text;
  append(item);
  return item;
}

/**
 * Append to the messages and keep the end in view, unless the reader has scrolled away from it.
 *
 * @param {HTMLElement} item
 */
export function append(item) {
  const messages = element("messages");
  messages.append(item);
  if (atEnd) scrolling ??= requestAnimationFrame(() => {
    scrolling = undefined;
    messages.scrollTop = messages.scrollHeight;
  });
}
/** @type {number|undefined} */
let scrolling;
let atEnd = true;
let scrolledTo = 0;
element("messages").addEventListener("scroll", ({ target }) => {
  const { scrollTop, scrollHeight, clientHeight } = /** @type {HTMLElement} */ (target);
  // Only a reader scrolls back; that the end has moved on means nothing.
  if (scrollTop < scrolledTo) atEnd = false;
  else if (scrollTop + clientHeight > scrollHeight - 40) atEnd = true;
  scrolledTo = scrollTop;
});

/** Read aloud by screen readers, the latest alone: two thousand messages must not queue up. */
const announcer = document.createElement("p");
announcer.id = "announcer";
announcer.className = "visually-hidden";
announcer.setAttribute("aria-live", "polite");
document.body.append(announcer);
/** @type {ReturnType<typeof setTimeout>|undefined} */
let pausing;
let latest = "";

/** @param {string} text */
export function announce(text) {
  latest = text;
  if (pausing) return;
  const speak = () => {
    pausing = undefined;
    if (!latest) return;
    announcer.textContent = latest;
    latest = "";
    pausing = setTimeout(speak, announcementMilliseconds);
  };
  speak();
}
