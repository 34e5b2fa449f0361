// Where the others point. A place is told as a column and shares of its width and height, so that
// it means the same on another screen.

import { h, throttle } from "../../core/dom.js";
import { avatar, hue } from "../../parts/avatar.js";

/** How often one's own place is told, in milliseconds. */
const EVERY = 120;
/** How long a cursor stays that does not move. */
const STAYS = 6_000;

export class Cursors {
  /** @type {Map<string, {element: HTMLElement, timer: number}>} */
  #shown = new Map();

  /** @param {import("../board.js").BoardView} board */
  constructor(board) {
    this.board = board;
  }

  /** @returns {HTMLElement[]} */
  get elements() {
    return [...this.#shown.values()].map(({ element }) => element);
  }

  listen() {
    const { lanes } = this.board;
    lanes.addEventListener(
      "pointermove",
      throttle((event) => this.#tell(event), EVERY),
      { passive: true },
    );
  }

  /** @param {PointerEvent} event */
  #tell(event) {
    // Alone there is nobody to tell.
    if (event.pointerType === "touch" || this.board.live.present.size < 2) return;
    const column = /** @type {Element} */ (event.target).closest("sy-column");
    if (!(column instanceof HTMLElement)) return;
    const box = column.getBoundingClientRect();
    const share = (/** @type {number} */ part) => Math.round(part * 1_000) / 1_000;
    this.board.signal("cursor", {
      column: column.dataset.column,
      x: share((event.clientX - box.left) / box.width),
      y: share((event.clientY - box.top) / box.height),
    });
  }

  /** @param {string} name @param {{column?: string, x?: number, y?: number}} data */
  show(name, { column, x = 0, y = 0 }) {
    const target = this.board.columns.get(column ?? "");
    if (!target) return;
    let cursor = this.#shown.get(name);
    if (!cursor) {
      const element = h(
        "div",
        {
          class: "cursor",
          testid: "cursor",
          "aria-hidden": "true",
          data: { user: name },
          style: { "--hue": String(hue(name)) },
        },
        avatar(name, "small"),
        h("span", {}, name),
      );
      this.board.lanes.append(element);
      cursor = { element, timer: 0 };
      this.#shown.set(name, cursor);
    }
    const left = target.offsetLeft + Math.min(1, Math.max(0, x)) * target.offsetWidth;
    const top = target.offsetTop + Math.min(1, Math.max(0, y)) * target.offsetHeight;
    cursor.element.style.translate = `${left}px ${top}px`;
    clearTimeout(cursor.timer);
    cursor.timer = window.setTimeout(() => this.#hide(name), STAYS);
  }

  /** @param {string} name */
  #hide(name) {
    this.#shown.get(name)?.element.remove();
    this.#shown.delete(name);
  }

  stop() {
    for (const { timer } of this.#shown.values()) clearTimeout(timer);
  }
}
