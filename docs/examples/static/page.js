import { subscribe } from "./webdis-progress/progress.js";

const run = document.getElementById("run");

subscribe({
  ...run.dataset, // url, channel, and replay, which is asked for what the page has missed
  onEvent: ({ text }) => {
    if (!text) return; // an update of the numbers only
    const line = document.createElement("p");
    line.textContent = text; // as text, never as HTML
    run.append(line);
  },
  onState: (state) => console.info(state),
  onError: (error) => console.warn(error.message),
});
