import { subscribe } from "./progress.js";

const messages = document.getElementById("messages");
const state = document.getElementById("state");

subscribe({
  url: messages.dataset.url,
  channel: messages.dataset.channel,
  after: Number(messages.dataset.after),
  replay: async (after) => {
    const answer = await fetch(`${messages.dataset.replay}?after=${after}`);
    if (!answer.ok) throw new Error(`replay answered ${answer.status}`);
    return answer.json();
  },
  onState: (value) => { state.textContent = value; },
  onEvent: (event) => {
    const alert = document.createElement("div");
    alert.className = "alert alert-info";
    alert.dataset.seq = event.seq;
    alert.dataset.delayMilliseconds = Date.now() - Date.parse(event.ts);
    alert.textContent = event.text; // as text, never as HTML
    messages.append(alert);
  },
});
