import { subscribe } from "./progress.js";

const messages = /** @type {HTMLElement} */ (document.getElementById("messages"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const { url = "", channel = "", after, epoch, replay } = messages.dataset;

subscribe({
  url,
  channel,
  after: Number(after),
  epoch,
  replay: async (number, signal) => {
    const answer = await fetch(`${replay}?after=${number}`, { signal });
    if (!answer.ok) throw new Error(`replay answered ${answer.status}`);
    return answer.json();
  },
  onState: (value) => { state.textContent = value; },
  onEvent: (event) => {
    const alert = document.createElement("div");
    alert.className = "alert alert-info";
    alert.dataset.seq = String(event.seq);
    alert.dataset.delayMilliseconds = String(Date.now() - Date.parse(event.ts));
    alert.textContent = event.text; // as text, never as HTML
    messages.append(alert);
  },
});
