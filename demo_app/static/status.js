/** The page of status: what the demo has seen last, and from then on what it publishes. */

import { subscribe } from "./webdis-progress/progress.js";

const HOUR = 720;
const mebibyte = 2 ** 20;
const page = /** @type {HTMLElement} */ (document.getElementById("status"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const news = /** @type {HTMLElement} */ (document.getElementById("news"));
const line = /** @type {SVGPolylineElement} */ (document.querySelector("#sparkline polyline"));
const { url = "", channel = "", replay = "", seen = "{}", rates: before = "[]" } = page.dataset;
/** @type {number[]} */
const rates = JSON.parse(before);

/** @param {string} name @param {string} text */
function fact(name, text) {
  const cell = document.querySelector(`[data-fact="${name}"]`);
  if (cell) cell.textContent = text; // as text, never as HTML
}

/** @param {number|null} bytes @param {number|null} limit */
function memory(bytes, limit) {
  const mebibytes = (/** @type {number|null} */ value, digits = 0) =>
    value === null ? "unknown" : (value / mebibyte).toFixed(digits);
  return `${mebibytes(bytes, 1)} of ${mebibytes(limit)} MiB`;
}

/** @param {any} now */
function show(now) {
  if (!now.server) return;
  fact("server", now.server);
  fact("origins", now.origins);
  fact("nodes", now.nodes.join(", "));
  fact("subscribers", `${now.subscribers} of ${now.max_subscribers ?? "unknown"}`);
  fact("memory", memory(now.memory_bytes, now.memory_limit_bytes));
  fact(
    "webdis",
    now.webdis
      .map(
        (/** @type {any} */ of) =>
          `${of.node}: ${memory(of.memory_bytes, of.memory_limit_bytes)}, restarts: ${of.restarts ?? "unknown"}`,
      )
      .join(", ") || "known where the server has METRICS=1",
  );
  fact("workers", String(now.workers));
  fact("queue", `${now.queue} waiting`);
  if (now.rate !== undefined) fact("rate", `${now.rate} messages a second`);
  news.replaceChildren(
    ...now.news.map((/** @type {{at: number, what: string}} */ { at, what }) => {
      const item = document.createElement("li");
      item.textContent = `${new Date(at * 1000).toLocaleString()}: ${what}`;
      return item;
    }),
  );
}

function draw() {
  const most = Math.max(1, ...rates);
  const first = HOUR - rates.length;
  line.setAttribute(
    "points",
    rates.map((rate, index) => `${first + index},${58 - (56 * rate) / most}`).join(" "),
  );
}

show(JSON.parse(seen));
draw();
subscribe({
  url,
  channel,
  replay,
  onEvent: ({ data }) => {
    const now = /** @type {any} */ (data);
    show(now);
    rates.push(now.rate);
    rates.splice(0, rates.length - HOUR);
    draw();
  },
  onState: (now) => {
    state.textContent = state.dataset.state = now;
    state.dataset.state = now;
  },
});
