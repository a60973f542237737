import { defineRunProgress } from "./webdis-progress/element.js";

defineRunProgress();
