import "htmx.org";
import { defineRunProgress } from "webdis-progress/element";

defineRunProgress();
