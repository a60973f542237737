import { subscribe } from "./progress.js";

const messages = document.getElementById("messages");

subscribe({
  url: messages.dataset.url,
  channel: messages.dataset.channel,
  replay: messages.dataset.events, // asked for what the page has missed
  onEvent: ({ text }) => {
    if (!text) return; // an update of the numbers alone
    const item = document.createElement("li");
    item.textContent = text; // as text, never as HTML
    messages.append(item);
  },
  onState: (state) => console.info(state),
  onError: (error) => console.warn(error.message),
});
