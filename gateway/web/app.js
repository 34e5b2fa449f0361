// The start of the page: theme, who is signed in, the frame around the views.

import { applyTheme } from "./core/theme.js";
import { session } from "./core/session.js";
import { store } from "./core/store.js";
import { fill } from "./core/dom.js";
import { mountToasts, toast } from "./parts/toast.js";
import { SignIn } from "./views/signin.js";
import { Shell } from "./views/shell.js";

function show() {
  if (session.token) {
    store.start();
    fill(root, new Shell());
  } else {
    store.stop();
    fill(root, new SignIn());
  }
}

applyTheme();
const root = document.createElement("div");
root.id = "root";
document.body.append(root);
mountToasts(document.body);

session.addEventListener("change", show);
session.addEventListener("refused", () =>
  toast("You have been signed out: the token no longer holds.", { tone: "bad" }),
);
store.addEventListener("refused", (event) => {
  const { error } = /** @type {CustomEvent} */ (event).detail;
  toast(error.message, { tone: "bad", stay: 8_000 });
});
store.addEventListener("notice", (event) => {
  const { detail } = /** @type {CustomEvent} */ (event);
  if (detail.type === "systemNotification")
    toast(detail.message ?? detail.text ?? detail.data?.text ?? "The server sent a notice.");
  if (detail.type === "drain") toast("The server restarts. You will be reconnected by yourself.");
});
window.addEventListener("beforeunload", (event) => {
  if (store.waiting > 0) event.preventDefault();
});
show();
