/** Lessons "shared" and "own": the messages of a function that runs while the page waits for its answer. */

import { announce, element, listen, show } from "./live.js";

listen(element("messages"), (event) => {
  const alert = show(event, "div", "alert alert-info");
  alert.dataset.delayMilliseconds = String(Date.now() - Date.parse(event.ts));
  announce(event.text);
});
