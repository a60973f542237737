/** Forms that start work: one press is one start. */

for (const form of document.forms) {
  const button = form.querySelector("button");
  if (!button) continue;
  form.addEventListener("submit", () => {
    button.disabled = true;
  });
  // Also when the reader comes back to the page as it was left.
  addEventListener("pageshow", () => {
    button.disabled = false;
  });
}
