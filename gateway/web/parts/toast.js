// Short notices at the edge of the window.

import { h } from "../core/dom.js";
import { icon } from "./icons.js";

/** @type {HTMLElement | null} */
let region = null;
/** Notices that may stand at once; older ones go. */
const MOST = 4;

/** @param {HTMLElement} parent */
export function mountToasts(parent) {
  region = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
  parent.append(region);
}

/**
 * @param {string} text
 * @param {{tone?: "info" | "bad" | "good", action?: {label: string, run: () => void}, stay?: number}} [options]
 *   `stay` in milliseconds.
 */
export function toast(text, { tone = "info", action, stay = 6_000 } = {}) {
  if (!region) return;
  const remove = () => notice.remove();
  const button =
    action &&
    h(
      "button",
      {
        class: "link",
        on: {
          click: () => {
            remove();
            action.run();
          },
        },
      },
      action.label,
    );
  const close = h(
    "button",
    { class: "icon-button small", "aria-label": "Dismiss", on: { click: remove } },
    icon("close"),
  );
  const notice = h("div", { class: `toast ${tone}`, testid: "toast" }, h("span", {}, text), button, close);
  region.append(notice);
  while (region.childElementCount > MOST) region.firstElementChild?.remove();
  let timer = window.setTimeout(remove, stay);
  notice.addEventListener("pointerenter", () => clearTimeout(timer));
  notice.addEventListener("pointerleave", () => (timer = window.setTimeout(remove, 2_000)));
}

/** @type {HTMLElement | null} */
let announcer = null;

/** Says something to screen readers only. @param {string} text */
export function announce(text) {
  if (!announcer) {
    announcer = h("div", { class: "unseen", "aria-live": "assertive", testid: "announcer" });
    document.body.append(announcer);
  }
  announcer.textContent = text;
}
