// Dragging cards with a mouse, a pen or a finger. A finger has to rest first, so that the same
// gesture can still scroll.

import { h } from "../../core/dom.js";

/** How far a mouse moves before a press is a drag, in pixels. */
const THRESHOLD = 5;
/** How long a finger rests before a press is a drag, in milliseconds. */
const REST = 280;
/** How near to an edge the board scrolls by itself, in pixels. */
const EDGE = 48;

/**
 * @typedef {object} Grip
 * @property {HTMLElement} card
 * @property {number} pointer
 * @property {number} x
 * @property {number} y
 * @property {boolean} touch
 * @property {number} timer
 */

export class Drag {
  /** What is pressed. @type {Grip | null} */
  #grip = null;
  /** What follows the pointer. @type {HTMLElement | null} */
  #ghost = null;
  #offset = { x: 0, y: 0 };
  #at = { x: 0, y: 0 };
  #indicator = h("li", { class: "drop-here", "aria-hidden": "true" });
  #frame = 0;
  /** The click that ends a drag is none. */
  justEnded = false;

  /** @param {import("../board.js").BoardView} board */
  constructor(board) {
    this.board = board;
  }

  listen() {
    const { lanes, whileShown: signal } = this.board;
    lanes.addEventListener("pointerdown", (event) => this.#down(event));
    window.addEventListener("pointermove", (event) => this.#move(event), { signal });
    window.addEventListener("pointerup", (event) => this.#up(event), { signal });
    window.addEventListener("pointercancel", () => this.cancel(), { signal });
    window.addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "Escape" || !this.#ghost) return;
        event.stopPropagation();
        this.cancel();
      },
      { signal, capture: true },
    );
    // Once a drag has begun, a moving finger must not scroll.
    lanes.addEventListener("touchmove", (event) => this.#ghost && event.preventDefault(), { passive: false });
    lanes.addEventListener("contextmenu", (event) => this.#grip?.touch && event.preventDefault());
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.justEnded = false;
    const target = /** @type {Element} */ (event.target);
    const card = /** @type {HTMLElement | null} */ (target.closest(".card"));
    if (!card || event.button !== 0 || target.closest("button, a, input, textarea")) return;
    const touch = event.pointerType === "touch";
    const timer = touch ? window.setTimeout(() => this.#begin(), REST) : 0;
    this.#grip = { card, pointer: event.pointerId, x: event.clientX, y: event.clientY, touch, timer };
    this.#at = { x: event.clientX, y: event.clientY };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const grip = this.#grip;
    if (!grip || event.pointerId !== grip.pointer) return;
    this.#at = { x: event.clientX, y: event.clientY };
    if (this.#ghost) {
      event.preventDefault();
      return this.#follow();
    }
    if (Math.hypot(event.clientX - grip.x, event.clientY - grip.y) < THRESHOLD) return;
    if (grip.touch) this.cancel();
    else this.#begin();
  }

  #begin() {
    const grip = this.#grip;
    if (!grip) return;
    const { card } = grip;
    this.board.keyboard.cancel();
    const box = card.getBoundingClientRect();
    this.#offset = { x: grip.x - box.left, y: grip.y - box.top };
    this.#ghost = /** @type {HTMLElement} */ (card.cloneNode(true));
    this.#ghost.classList.add("drag-ghost");
    this.#ghost.removeAttribute("data-testid");
    this.#ghost.style.width = `${box.width}px`;
    this.#indicator.style.height = `${Math.min(box.height, 120)}px`;
    document.body.append(this.#ghost);
    document.body.classList.add("dragging");
    card.classList.add("lifted");
    this.#follow();
    this.#frame = requestAnimationFrame(() => this.#scroll());
  }

  #follow() {
    if (!this.#ghost) return;
    const { x, y } = this.#at;
    this.#ghost.style.translate = `${x - this.#offset.x}px ${y - this.#offset.y}px`;
    this.#aim(x, y);
  }

  /** Puts the indicator where the card would land. @param {number} x @param {number} y */
  #aim(x, y) {
    const below = document.elementFromPoint(x, y);
    const column = below?.closest("sy-column");
    if (!column || !this.board.contains(column)) return;
    const list = /** @type {HTMLElement} */ (column.querySelector(".cards"));
    const card = below?.closest(".card");
    if (card && list.contains(card)) {
      const box = card.getBoundingClientRect();
      const next = y < box.top + box.height / 2 ? card : card.nextSibling;
      if (next !== this.#indicator && this.#indicator.nextSibling !== next)
        list.insertBefore(this.#indicator, next);
      else if (this.#indicator.parentElement !== list) list.insertBefore(this.#indicator, next);
    } else if (this.#indicator.parentElement !== list || (below === list && isBelowAll(list, y))) {
      if (isBelowAll(list, y)) list.append(this.#indicator);
      else if (this.#indicator.parentElement !== list) list.prepend(this.#indicator);
    }
  }

  #scroll() {
    if (!this.#ghost) return;
    const { x, y } = this.#at;
    const { lanes } = this.board;
    const box = lanes.getBoundingClientRect();
    lanes.scrollLeft += push(x, box.left, box.right);
    const list = this.#indicator.parentElement;
    if (list) {
      const inner = list.getBoundingClientRect();
      const step = push(y, inner.top, inner.bottom);
      list.scrollTop += step;
      if (step !== 0) this.#aim(x, y);
    }
    this.#frame = requestAnimationFrame(() => this.#scroll());
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const grip = this.#grip;
    if (!grip || event.pointerId !== grip.pointer) return;
    const list = this.#indicator.parentElement;
    if (!this.#ghost || !list) return this.cancel();
    const task = grip.card.dataset.task ?? "";
    const column = /** @type {HTMLElement} */ (list.closest("sy-column")).dataset.column ?? "";
    let previous = this.#indicator.previousElementSibling;
    while (previous && (previous === grip.card || /** @type {HTMLElement} */ (previous).hidden))
      previous = previous.previousElementSibling;
    const after = previous ? (/** @type {HTMLElement} */ (previous).dataset.task ?? null) : null;
    this.cancel();
    this.justEnded = true;
    window.setTimeout(() => (this.justEnded = false), 50);
    this.board.move(task, column, after);
  }

  cancel() {
    const grip = this.#grip;
    if (!grip) return;
    clearTimeout(grip.timer);
    cancelAnimationFrame(this.#frame);
    grip.card.classList.remove("lifted");
    this.#grip = null;
    this.#ghost?.remove();
    this.#ghost = null;
    this.#indicator.remove();
    document.body.classList.remove("dragging");
  }
}

/** @param {HTMLElement} list @param {number} y */
function isBelowAll(list, y) {
  const last = list.lastElementChild;
  return !last || y > last.getBoundingClientRect().bottom;
}

/** @param {number} at @param {number} from @param {number} to @returns {number} Pixels a frame. */
function push(at, from, to) {
  if (at < from + EDGE) return -Math.min(16, (from + EDGE - at) / 3);
  if (at > to - EDGE) return Math.min(16, (at - to + EDGE) / 3);
  return 0;
}
