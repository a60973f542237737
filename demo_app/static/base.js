/** All pages: times as this browser's clock has them, and forms of which one press is one start. */

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const today = day.format(new Date());

for (const time of document.querySelectorAll("time")) {
  const at = new Date(time.dateTime);
  const date = day.format(at);
  time.textContent = date === today ? clock.format(at) : `${date}, ${clock.format(at)}`;
}

for (const form of document.forms) {
  const button = form.querySelector("button");
  if (!button || form.id) continue; // a form with a name has a script of its own
  form.addEventListener("submit", () => {
    button.disabled = true;
  });
  // Also when the reader comes back to the page as it was left.
  addEventListener("pageshow", () => {
    button.disabled = false;
  });
}
