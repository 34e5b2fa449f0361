// A menu that opens below a button. Arrow keys move, Escape closes, focus goes back.

import { h } from "../core/dom.js";

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {() => void} run
 * @property {string} [testid]
 * @property {boolean} [disabled]
 * @property {boolean} [danger]
 * @property {string} [hint]
 */

/** @type {(() => void) | null} */
let closeOpen = null;

/** @param {HTMLElement} anchor @param {(Item | "line" | null | false)[]} items @param {string} [heading] */
export function openMenu(anchor, items, heading) {
  closeOpen?.();
  const menu = h("div", { class: "menu", role: "menu", "aria-label": heading ?? "Menu" });
  if (heading) menu.append(h("div", { class: "menu-heading" }, heading));
  for (const item of items) {
    if (!item) continue;
    if (item === "line") menu.append(h("hr"));
    else menu.append(entry(item));
  }
  openPopover(anchor, menu);
  /** @type {HTMLElement | null} */ (menu.querySelector("button:not(:disabled)"))?.focus({
    preventScroll: true,
  });
}

/** @param {Item} item */
function entry({ label, run, testid, disabled, danger, hint }) {
  const choose = () => {
    closeOpen?.();
    run();
  };
  return h(
    "button",
    {
      role: "menuitem",
      testid,
      disabled: disabled ?? false,
      class: danger ? "danger" : "",
      on: { click: choose },
    },
    h("span", {}, label),
    hint && h("span", { class: "hint" }, hint),
  );
}

/**
 * Shows `panel` at `anchor` until a click elsewhere, Escape, or `closePopover`.
 * @param {HTMLElement} anchor
 * @param {HTMLElement} panel
 */
export function openPopover(anchor, panel) {
  closeOpen?.();
  const host = anchor.closest("dialog") ?? document.body;
  panel.classList.add("popover");
  host.append(panel);
  place(anchor, panel);
  anchor.setAttribute("aria-expanded", "true");
  const outside = (/** @type {Event} */ event) => {
    const target = /** @type {Node} */ (event.target);
    if (!panel.contains(target) && !anchor.contains(target)) close();
  };
  const scrolled = (/** @type {Event} */ event) => {
    if (!panel.contains(/** @type {Node} */ (event.target))) close();
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape" || event.key === "Tab") {
      if (event.key === "Escape") event.preventDefault();
      event.stopPropagation();
      close();
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    event.stopPropagation();
    const all = /** @type {HTMLElement[]} */ ([...panel.querySelectorAll("button:not(:disabled)")]);
    const now = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const step = event.key === "ArrowDown" ? 1 : -1;
    all[(now + step + all.length) % all.length]?.focus();
  };
  const close = () => {
    closeOpen = null;
    const hadFocus = panel.contains(document.activeElement);
    panel.remove();
    anchor.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("scroll", scrolled, true);
    if (hadFocus && anchor.isConnected) anchor.focus({ preventScroll: true });
  };
  document.addEventListener("pointerdown", outside, true);
  document.addEventListener("scroll", scrolled, true);
  panel.addEventListener("keydown", keys);
  closeOpen = close;
}

export function closePopover() {
  closeOpen?.();
}

/** Below the anchor, or above it where there is no room. @param {HTMLElement} anchor @param {HTMLElement} panel */
function place(anchor, panel) {
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  const left = Math.max(8, Math.min(box.left, innerWidth - width - 8));
  const below = box.bottom + 4;
  const top = below + height <= innerHeight - 8 ? below : Math.max(8, box.top - height - 4);
  panel.style.left = `${left}px`;
  panel.style.top = `${top}px`;
}
