import { follow, type Options, type Run } from "webdis-progress";

const place = document.querySelector<HTMLElement>("#run");
if (!place) throw new Error("the page has no #run");
const { url = "", channel = "", replay = "" } = place.dataset;

const bar = Object.assign(document.createElement("progress"), { max: 100, ariaLabel: "Progress" });
const text = document.createElement("p");
const connection = Object.assign(document.createElement("p"), { role: "status" });
const lines = document.createElement("ol");
place.append(bar, text, connection, lines);

function draw(run: Run): void {
  if (run.percent === null) bar.removeAttribute("value");
  else bar.value = run.percent;
  const left = run.secondsLeft === null ? "" : `, about ${Math.ceil(run.secondsLeft)} s left`;
  text.textContent = `${run.state}: ${run.text}${left}`;
  connection.textContent = run.connection;
  // At most 10,000 are kept; what is shown already stays.
  for (const message of run.messages.slice(Math.max(0, lines.children.length - run.dropped))) {
    const line = document.createElement("li");
    line.textContent = message.kind === "gap" ? "Earlier messages are not shown." : message.text;
    lines.append(line); // as text, never as HTML
  }
}

const options: Options = {
  url,
  channel,
  replay,
  onError: ({ message, status }) => console.warn(message, status ?? ""),
};
follow({ ...options, onChange: draw });
