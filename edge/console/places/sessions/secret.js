/** Shows the secret of a webhook: once, when it was made. */

import { copyButton, h } from "../../dom.js";
import { dialog } from "../../parts/dialog.js";

/** Shows a secret this once, and waits until it was put away. */
export async function showSecret(secret, verification = null) {
  const shown = dialog("The secret of this webhook", [
    h("p", {}, "Your receiver needs it to check the header webhook-signature. It is shown this once: nobody can read it again, only replace it."),
    h("pre.json.secret", { tabindex: 0, "aria-label": "Secret" }, secret),
    verification && !verification.ok && h("p.form-fault", {}, `The receiver has not agreed yet: ${verification.detail ?? verification.error ?? "no answer"}.`),
    h("div.row-of-buttons.end", {}, copyButton("Copy the secret", () => secret), h("button.primary", { type: "button", onclick: () => shown.close(true) }, "I have it")),
  ].filter(Boolean));
  await shown.closed;
}

