/** Lessons "shared" and "own": the messages of a function that runs while the page waits for its answer. */

import { defineRunProgress } from "./webdis-progress/element.js";

defineRunProgress();
