// The admin token: the page asks for it if the gateway requires one, and keeps it for this tab
// only.

const KEY = "llm-gateway-admin-token";

const dialog = document.getElementById("token-dialog");
const form = document.getElementById("token-form");
const input = document.getElementById("token");
const problem = document.getElementById("token-problem");

let asking = null;

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

// Asks until the operator enters one. Simultaneous callers share the answer.
export function askForToken() {
  asking ??= new Promise((resolve) => {
    problem.textContent = token() ? "That token was not accepted." : "";
    input.value = "";
    if (!dialog.open) dialog.showModal();
    input.focus();
    form.addEventListener("submit", function taken(event) {
      event.preventDefault();
      const given = input.value.trim();
      if (!/^[\x21-\x7e]+$/.test(given)) {
        problem.textContent = "Enter the token: letters, digits and signs without spaces.";
        return;
      }
      form.removeEventListener("submit", taken);
      sessionStorage.setItem(KEY, given);
      input.value = "";
      asking = null;
      dialog.close();
      resolve();
    });
  });
  return asking;
}

// Without a token there is nothing to show, so the dialog stays until one is entered. A browser lets
// a second Escape close it all the same, and then it opens again.
dialog.addEventListener("cancel", (event) => event.preventDefault());
dialog.addEventListener("close", () => {
  if (!asking) return;
  dialog.showModal();
  input.focus();
});
