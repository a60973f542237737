/**
 * What the package offers without its element.
 *
 * @typedef {import("./progress.js").Answer} Answer
 * @typedef {import("./progress.js").Options} Options
 * @typedef {import("./progress.js").ProgressEvent} ProgressEvent
 * @typedef {import("./progress.js").Replay} Replay
 * @typedef {import("./progress.js").Snapshot} Snapshot
 * @typedef {import("./progress.js").State} State
 */

export { defaultTimes, subscribe } from "./progress.js";
export { Bar, follow, MOST_MESSAGES, Run } from "./run.js";
