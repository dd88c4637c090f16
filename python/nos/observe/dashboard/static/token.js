// Asks for a token where the cluster is not shown to everybody.

import { h } from "./dom.js";

// The promise of one; why: what became of the one before.
export function askForToken(why) {
  return new Promise((given) => {
    const input = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true });
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "ask-title" }, "A token of the cluster, please"),
        h("p", {}, "It is shown to the API server, kept until this tab is closed, and sent nowhere else."),
        why ? h("p", { class: "notice", role: "alert" }, why) : null,
        h("label", { for: "token" }, "Token"), input,
        h("p", { class: "muted" }, "For a service account that is bound to nos-dashboard: ", h("code", {}, "kubectl create token NAME -n NAMESPACE")),
        h("button", { class: "main" }, "Show the cluster")));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const value = input.value.trim();
      if (!value) return;
      dialog.close();
      dialog.remove();
      given(value);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
