// The board by keyboard: arrows go from card to card; Space lifts one, arrows move it, Space drops
// it, Escape puts it back. Each step is announced.

import { announce } from "../../parts/toast.js";
import { isTyping } from "../../core/dom.js";
import { openMoveMenu } from "./move-menu.js";

/** @typedef {{task: string, column: string, index: number}} Lift  Where a lifted card would land. */

export class Keyboard {
  /** @type {Lift | null} */
  #lift = null;

  /** @param {import("../board.js").BoardView} board */
  constructor(board) {
    this.board = board;
  }

  listen() {
    const { lanes } = this.board;
    lanes.addEventListener("keydown", (event) => this.#key(event));
    lanes.addEventListener("focusin", (event) => rove(/** @type {HTMLElement} */ (event.target)));
    lanes.addEventListener("focusout", () => {
      // Not while the card is only taken from one list to another.
      queueMicrotask(
        () => this.#lift && !lanes.contains(document.activeElement) && document.hasFocus() && this.cancel(),
      );
    });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const card = /** @type {HTMLElement | null} */ (target.closest(".card"));
    if (!card || target.closest("button")) return;
    const task = card.dataset.task ?? "";
    if (event.key.startsWith("Arrow")) {
      if (this.#lift) this.#carry(event.key);
      else this.#walk(card, event.key);
    } else if (event.key === " ") {
      if (this.#lift) this.#drop();
      else this.#take(task);
    } else if (event.key === "Escape" && this.#lift) {
      this.cancel();
    } else if (event.key === "Enter") {
      if (this.#lift) this.#drop();
      else this.board.openCard(task);
    } else if (event.key === "m" && !this.#lift) {
      openMoveMenu(this.board, /** @type {HTMLElement} */ (card.querySelector(".card-move")), task);
    } else if (event.key === "n" && !this.#lift) {
      /** @type {import("./column.js").ColumnElement | null} */ (card.closest("sy-column"))?.addCard();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {string} task */
  #take(task) {
    const place = this.board.placeOf(task);
    if (!place) return;
    this.#lift = { task, column: place.column.id, index: place.index };
    this.board.cards.get(task)?.classList.add("lifted-by-key");
    announce(
      `Lifted ${this.#name(task)}. ${this.#where()}. Arrow keys move it, Space drops it, Escape puts it back.`,
    );
  }

  /** @param {string} key */
  #carry(key) {
    const lift = this.#lift;
    if (!lift) return;
    const { columns } = this.board.state;
    const at = columns.findIndex((column) => column.id === lift.column);
    if (key === "ArrowUp") lift.index = Math.max(0, lift.index - 1);
    else if (key === "ArrowDown") lift.index = Math.min(this.#others(lift.column).length, lift.index + 1);
    else {
      const next = columns[at + (key === "ArrowRight" ? 1 : -1)];
      if (!next) return;
      lift.column = next.id;
      lift.index = Math.min(lift.index, this.#others(next.id).length);
    }
    this.hold();
    announce(this.#where());
  }

  /** Keeps the lifted card where it is carried to, whatever was redrawn. */
  hold() {
    const lift = this.#lift;
    if (!lift) return;
    const card = this.board.cards.get(lift.task);
    const list = this.board.columns.get(lift.column)?.list;
    if (!card || !list || !this.board.state.tasks[lift.task]) {
      this.#lift = null;
      return;
    }
    const others = this.#others(lift.column);
    lift.index = Math.min(lift.index, others.length);
    const next = lift.index < others.length ? (this.board.cards.get(others[lift.index]) ?? null) : null;
    if (card.parentElement !== list || card.nextElementSibling !== next) list.insertBefore(card, next);
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #drop() {
    const lift = this.#lift;
    if (!lift) return;
    const others = this.#others(lift.column);
    const after = lift.index === 0 ? null : others[lift.index - 1];
    announce(`Dropped ${this.#name(lift.task)}. ${this.#where()}.`);
    this.#end();
    this.board.move(lift.task, lift.column, after);
    this.board.cards.get(lift.task)?.focus({ preventScroll: true });
  }

  /** Puts a lifted card back. */
  cancel() {
    const lift = this.#lift;
    if (!lift) return;
    this.#end();
    const place = this.board.placeOf(lift.task);
    const card = this.board.cards.get(lift.task);
    if (!place || !card) return;
    const list = this.board.columns.get(place.column.id)?.list;
    const next = place.column.tasks[place.index + 1];
    list?.insertBefore(card, next ? (this.board.cards.get(next) ?? null) : null);
    card.focus();
    announce(`${this.#name(lift.task)} is back where it was.`);
  }

  #end() {
    if (this.#lift) this.board.cards.get(this.#lift.task)?.classList.remove("lifted-by-key");
    this.#lift = null;
  }

  /** The tasks of a column but for the lifted one. @param {string} column */
  #others(column) {
    const tasks = this.board.state.columns.find((one) => one.id === column)?.tasks ?? [];
    return tasks.filter((task) => task !== this.#lift?.task);
  }

  #where() {
    const lift = this.#lift;
    if (!lift) return "";
    const title = this.board.state.columns.find((column) => column.id === lift.column)?.title ?? "";
    return `${title}, position ${lift.index + 1} of ${this.#others(lift.column).length + 1}`;
  }

  /** @param {string} task */
  #name(task) {
    return this.board.state.tasks[task]?.title ?? "card";
  }

  /** @param {HTMLElement} card @param {string} key */
  #walk(card, key) {
    /** @type {Element | null | undefined} */
    let next;
    if (key === "ArrowUp") next = card.previousElementSibling;
    else if (key === "ArrowDown") next = card.nextElementSibling;
    else {
      const place = this.board.placeOf(card.dataset.task ?? "");
      const { columns } = this.board.state;
      if (!place) return;
      const step = key === "ArrowRight" ? 1 : -1;
      for (let at = columns.indexOf(place.column) + step; columns[at] && !next; at += step) {
        const { tasks } = columns[at];
        next = this.board.cards.get(tasks[Math.min(place.index, tasks.length - 1)]);
      }
    }
    if (!(next instanceof HTMLElement)) return;
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

/** The focused card becomes the one of its column that Tab reaches. @param {HTMLElement} target */
function rove(target) {
  if (!target.classList.contains("card")) return;
  const before = target.parentElement?.querySelector('.card[tabindex="0"]');
  if (before === target) return;
  before?.setAttribute("tabindex", "-1");
  target.tabIndex = 0;
}
