/** Lesson "devices": keeps rows and picture of a run up to date while it visits devices. */

import { follow } from "./webdis-progress/run.js";

/** @typedef {import("./webdis-progress/run.js").Run} Run */
/** @typedef {import("./webdis-progress/run.js").Bar} Bar */

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

const source = element("run");
const bar = /** @type {HTMLProgressElement} */ (element("bar"));
const { title } = document;
// At most this often; a run says a hundred things in a second.
const drawMilliseconds = 100;
let drawing = 0;
let ended = source.dataset.state !== "waiting" && source.dataset.state !== "running";

/** A device's own word for its state, where it has said one. @param {Bar} task */
const stateOf = ({ state, last }) => String(last?.data?.state ?? state);

/** @param {Bar} task */
function drawTask(task) {
  const state = stateOf(task);
  for (const place of source.querySelectorAll(`[data-device="${CSS.escape(task.task ?? "")}"]`)) {
    /** @type {HTMLElement} */ (place).dataset.state = state;
    const [word, text] = [place.querySelector(".state"), place.querySelector(".text")];
    if (word) word.textContent = state;
    if (text) text.textContent = task.text;
  }
}

/** @param {Run} run */
function draw(run) {
  drawing = 0;
  element("state").textContent = run.connection;
  source.dataset.state = run.state;
  element("status").textContent = run.state;
  element("text").textContent = run.text;
  if (run.percent !== null) bar.value = run.percent;
  document.title = `${run.ended ? run.state : `${run.percent ?? 0} %`} · ${title}`;
  for (const task of run.tasks.values()) drawTask(task);
  if (run.ended && !ended) void finish();
}

/** The run has ended: the table as the server has it takes the place of the live one. */
async function finish() {
  ended = true;
  element("cancel").remove();
  try {
    const answer = await fetch(source.dataset.result ?? "");
    if (!answer.ok) throw new Error(`the result answered ${answer.status}`);
    const result = new DOMParser().parseFromString(await answer.text(), "text/html");
    element("result").replaceChildren(...result.body.childNodes);
  } catch {
    element("text").textContent = "The result could not be loaded. Load the page again.";
  }
}

/** @param {SubmitEvent} submit */
async function cancelled(submit) {
  submit.preventDefault(); // the page stays, and the focus where it is
  const form = /** @type {HTMLFormElement} */ (submit.currentTarget);
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  button.textContent = "Cancelling";
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    if (!answer.ok) throw new Error(`cancel answered ${answer.status}`);
  } catch {
    button.textContent = "Cancel did not get through: try again";
  }
}

if (ended) {
  element("state").textContent = "closed, nothing more will come";
} else {
  /** @type {HTMLFormElement} */ (element("cancel")).addEventListener("submit", cancelled);
  const { url = "", channel = "", replay = "" } = source.dataset;
  follow({
    url,
    channel,
    replay,
    after: 0,
    onChange: (run) => {
      drawing ||= window.setTimeout(draw, drawMilliseconds, run);
    },
  });
}
