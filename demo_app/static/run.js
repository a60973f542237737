/** Lessons with a job: keeps the page of a run up to date, from where the server has drawn it. */

import { announce, append, element, listen, show } from "./live.js";

/** @typedef {import("./webdis-progress/progress.js").ProgressEvent} ProgressEvent */

const run = element("run");
const bar = /** @type {HTMLProgressElement} */ (element("bar"));
const endings = ["done", "failed", "cancelled"];
const paceSeconds = 30;
/** @type {{at: number, current: number}[]} */
const samples = [];
const { title } = document;
let last = Number(run.dataset.after);

/** @param {string} state */
function become(state) {
  run.dataset.state = state;
  element("status").textContent = state;
}

/**
 * How long the rest takes at the pace of the last half minute, by the server's clock alone.
 *
 * @param {ProgressEvent} event
 * @returns {string} empty as long as nobody can know
 */
function timeLeft({ ts, current, total }) {
  if (current == null || total == null) return "";
  const at = Date.parse(ts) / 1000;
  samples.push({ at, current });
  while (samples.length > 2 && at - (samples[1]?.at ?? at) > paceSeconds) samples.shift();
  const [first] = samples;
  if (!first || at - first.at < 1 || current <= first.current) return "";
  const seconds = ((total - current) * (at - first.at)) / (current - first.current);
  if (seconds < 90) return `about ${Math.ceil(seconds)} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${Math.round(seconds / 3600)} h left`;
}

/** @param {ProgressEvent} event */
function progressed(event) {
  const { current, total } = event;
  if (current == null || !total) return;
  const percent = Math.min(100, Math.floor((100 * current) / total));
  bar.value = percent;
  element("percent").textContent = `${percent} %`;
  document.title = `${percent} % · ${title}`;
}

/** @param {ProgressEvent} event */
async function ended(event) {
  const { kind, text } = event;
  become(kind);
  document.title = `${kind} · ${title}`;
  if (!bar.hasAttribute("value")) bar.value = kind === "done" ? 100 : 0;
  const cancel = document.getElementById("cancel");
  if (cancel?.contains(document.activeElement)) {
    const heading = /** @type {HTMLElement} */ (document.querySelector("h1"));
    heading.tabIndex = -1; // who had the focus on Cancel must not lose the place
    heading.focus();
  }
  cancel?.remove();
  announce(`${kind}: ${text}`);
  if (kind !== "done" || !run.dataset.result) return;
  try {
    const answer = await fetch(run.dataset.result);
    if (!answer.ok) throw new Error(`the result answered ${answer.status}`);
    const result = new DOMParser().parseFromString(await answer.text(), "text/html");
    element("result").replaceChildren(...result.body.childNodes);
  } catch {
    element("result").textContent = "The result could not be loaded. Load the page again.";
  }
}

/** @param {ProgressEvent} event */
function received(event) {
  const { seq, kind, text } = event;
  if (seq > last + 1 && last > 0) {
    const item = document.createElement("li");
    item.className = "text-body-secondary";
    item.textContent = "Some messages are no longer kept.";
    append(item);
  }
  last = seq;
  run.dataset.after = String(seq);
  const left = timeLeft(event);
  element("eta").textContent = endings.includes(kind) ? "" : left;
  progressed(event);
  if (text) {
    const before = element("messages").lastElementChild?.textContent;
    element("text").textContent = text;
    // Steps that say the same say it once; the bar tells them apart.
    if (kind !== "progress" || text !== before) show(event, "li");
  }
  if (endings.includes(kind)) void ended(event);
  else {
    become("running");
    announce([element("percent").textContent, text, left].filter(Boolean).join(", "));
  }
}

/** @param {SubmitEvent} submit */
async function cancelled(submit) {
  submit.preventDefault(); // the page stays, and the focus where it is
  const form = /** @type {HTMLFormElement} */ (submit.currentTarget);
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true";
  button.textContent = "Cancelling";
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    if (!answer.ok) throw new Error(`cancel answered ${answer.status}`);
  } catch {
    button.ariaDisabled = null;
    button.textContent = "Cancel did not get through: try again";
    announce(button.textContent);
  }
}

if (endings.includes(run.dataset.state ?? "")) {
  element("state").textContent = "closed, nothing more will come";
} else {
  /** @type {HTMLFormElement} */ (element("cancel")).addEventListener("submit", cancelled);
  listen(run, received);
}
