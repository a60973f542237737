/** The page of a run: its title, its cancel and its result; <run-progress> shows the rest. */

import { defineRunProgress } from "./webdis-progress/element.js";

/** @typedef {import("./webdis-progress/element.js").RunProgress} RunProgress */
/** @typedef {import("./webdis-progress/run.js").Run} Run */

const progress = /** @type {RunProgress} */ (document.getElementById("run"));
const cancel = /** @type {HTMLFormElement|null} */ (document.getElementById("cancel"));
const result = /** @type {HTMLElement} */ (document.getElementById("result"));
const { title } = document;

/** @param {Run} run */
function showTitle({ ended, state, percent }) {
  const before = ended ? state : percent === null ? "" : `${percent} %`;
  document.title = before ? `${before} · ${title}` : title;
}

function removeCancel() {
  if (cancel?.contains(document.activeElement)) {
    const heading = /** @type {HTMLElement} */ (document.querySelector("h1"));
    heading.tabIndex = -1; // who had the focus on Cancel must not lose the place
    heading.focus();
  }
  cancel?.remove();
}

async function loadResult() {
  try {
    const answer = await fetch(progress.dataset.result ?? "");
    if (!answer.ok) throw new Error(`the result answered ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    result.replaceChildren(...page.body.childNodes);
  } catch {
    result.textContent = "The result could not be loaded. Load the page again.";
  }
}

/** @param {SubmitEvent} submit */
async function requestCancel(submit) {
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
    progress.announce(button.textContent);
  }
}

cancel?.addEventListener("submit", requestCancel);
progress.addEventListener("run-change", () => showTitle(progress.run));
progress.addEventListener("run-end", () => {
  removeCancel();
  const drawn = result.querySelector("table") !== null; // by the server
  if (progress.dataset.result && !drawn) void loadResult();
});
defineRunProgress();
