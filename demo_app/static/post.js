/** Lesson "post": the bare subscription. It asks for nothing again and does not come back. */

const messages = /** @type {HTMLElement} */ (document.getElementById("messages"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const { url = "", channel = "" } = messages.dataset;

state.textContent = state.dataset.state = "connecting";
const socket = new WebSocket(url);
socket.onopen = () => socket.send(JSON.stringify(["SUBSCRIBE", channel]));
socket.onmessage = ({ data }) => {
  const [kind, , text] = JSON.parse(data).SUBSCRIBE;
  if (kind === "subscribe") {
    state.textContent = state.dataset.state = "connected";
    return;
  }
  const item = document.createElement("li");
  item.textContent = text; // as text, never as HTML
  messages.append(item);
};
socket.onclose = () => {
  state.textContent = "disconnected: what is published now is lost, load the page again";
  state.dataset.state = "disconnected";
};
