/** The start page: its run, which number came in which way, and a plug to pull. */

import { defineRunProgress } from "./webdis-progress/element.js";

/** @typedef {import("./webdis-progress/element.js").RunProgress} RunProgress */
/** @typedef {import("./webdis-progress/progress.js").ProgressEvent} ProgressEvent */

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** The run that is shown, if there is one yet. */
const sample = () => /** @type {RunProgress|null} */ (document.getElementById("sample"));

/** @param {string} text */
function showPlug(text) {
  const plug = byId("plug");
  plug.textContent = text;
  plug.hidden = !sample() || Boolean(sample()?.run.ended);
}

/** A cell for the number of each message. @param {ProgressEvent} event */
function addNumber({ seq }) {
  const cell = document.createElement("li");
  cell.className = "number";
  cell.textContent = `${seq}`;
  // What comes before the connection stands was asked for.
  cell.dataset.way = sample()?.run.connection === "connected" ? "pushed" : "asked";
  const numbers = byId("numbers");
  numbers.append(cell);
  numbers.scrollTop = numbers.scrollHeight;
}

function pullPlug() {
  const paused = sample()?.run.connection === "paused";
  if (paused) sample()?.resume();
  else sample()?.pause();
  showPlug(paused ? "Disconnect this page" : "Connect it again");
}

/** Start a run, and show what the page has for it then. */
async function start() {
  const form = /** @type {HTMLFormElement} */ (byId("sample-form"));
  const button = /** @type {HTMLButtonElement} */ (byId("again"));
  button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    if (!answer.ok) throw new Error(`the start answered ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const live = page.getElementById("live");
    if (!live) throw new Error("the answer has no run");
    byId("live").replaceWith(document.adoptNode(live));
    listen();
  } catch {
    button.disabled = false;
    button.textContent = "It did not start: try again";
  }
}

function listen() {
  byId("sample-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    void start();
  });
  byId("plug").addEventListener("click", pullPlug);
  const live = byId("live");
  live.addEventListener("run-event", (event) => addNumber(/** @type {CustomEvent} */ (event).detail));
  live.addEventListener("run-end", () => showPlug("Disconnect this page"));
  showPlug("Disconnect this page");
}

defineRunProgress();
listen();
if ("first" in byId("live").dataset) void start();
