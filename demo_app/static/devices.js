/** Lesson "devices": colours the picture of a run, as <run-progress> hears of devices and links. */

/** @typedef {import("./webdis-progress/element.js").RunProgress} RunProgress */

const progress = /** @type {RunProgress} */ (document.getElementById("run"));
const nodes = /** @type {NodeListOf<SVGElement>} */ (document.querySelectorAll("g[data-device]"));
const links = /** @type {NodeListOf<SVGElement>} */ (document.querySelectorAll("[data-ends]"));

function colour() {
  const { tasks } = progress.run;
  for (const node of nodes) {
    const task = tasks.get(node.dataset.device ?? "");
    if (!task) continue;
    const drift = task.state === "done" && task.last?.data?.state === "drift";
    node.dataset.state = drift ? "drift" : task.state;
  }
  for (const link of links) {
    const [one = "", other = ""] = (link.dataset.ends ?? "").split(" ");
    const [lacks, lacked] = [one, other].map((end) => tasks.get(end)?.last?.data?.missing);
    const missing = (Array.isArray(lacks) && lacks.includes(other)) || (Array.isArray(lacked) && lacked.includes(one));
    if (missing) link.dataset.state = "failed";
    else if (lacks && lacked) link.dataset.state = "ok";
  }
}

progress.addEventListener("run-change", colour);
