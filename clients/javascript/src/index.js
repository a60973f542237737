/** What the package offers without its element. */

export { defaultTimes, subscribe } from "./progress.js";
export { Bar, follow, MOST_MESSAGES, Run } from "./run.js";
