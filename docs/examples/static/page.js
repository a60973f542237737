import { subscribe } from "./progress.js";

const messages = document.getElementById("messages");

if (messages.dataset.channel) subscribe({
  url: messages.dataset.url,
  channel: messages.dataset.channel,
  after: 0,
  replay: async (after) => (await fetch(`/events?after=${after}`)).json(),
  onEvent: ({ text }) => {
    if (!text) return; // an update of the numbers alone
    const item = document.createElement("li");
    item.textContent = text; // as text, never as HTML
    messages.append(item);
  },
  onState: (state) => console.info(state),
});
