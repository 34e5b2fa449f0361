// A board: columns of cards. What changed is found by comparing references (see core/live.js), so
// a change costs what it touches, not what the board holds.

import { h, fill, isTyping, arrange } from "../core/dom.js";
import { plainName } from "../core/ids.js";
import { session } from "../core/session.js";
import { Presence } from "../parts/avatar.js";
import { icon } from "../parts/icons.js";
import { offer } from "../parts/palette.js";
import { toast } from "../parts/toast.js";
import { EntityView } from "./entity.js";
import { archivedDialog, boardMenu } from "./board/actions.js";
import { cardDialog } from "./board/card-dialog.js";
import { fillCard, makeCard } from "./board/card.js";
import { ColumnElement, newColumn } from "./board/column.js";
import { Cursors } from "./board/cursors.js";
import { Drag } from "./board/drag.js";
import { Keyboard } from "./board/keyboard.js";
import { openMoveMenu } from "./board/move-menu.js";

/**
 * @typedef {import("../core/types.js").BoardState} BoardState
 * @typedef {import("../core/types.js").Task} Task
 */

export class BoardView extends EntityView {
  #title = h("h1");
  #presence = new Presence();
  #filter = h("input", {
    type: "search",
    class: "filter",
    placeholder: "Filter cards",
    "aria-label": "Filter cards",
    testid: "board-filter",
  });
  #undo = h(
    "button",
    {
      class: "icon-button",
      "aria-label": "Undo my last change",
      title: "Undo my last change (Ctrl Z)",
      testid: "undo",
      disabled: true,
    },
    icon("undo"),
  );
  #hint = h(
    "p",
    { class: "unseen", id: "board-hint" },
    "Space lifts a card, arrow keys move it, Space drops it, Escape cancels. M opens Move to.",
  );
  /** Where the columns stand. */
  lanes = h("div", { class: "lanes" });
  #addColumn = h("div", { class: "lane-new" });
  /** @type {Map<string, ColumnElement>} */
  columns = new Map();
  /** @type {Map<string, HTMLElement>} */
  cards = new Map();
  /** What is drawn. @type {BoardState | null} */
  #drawn = null;
  /** The seqs of this person's changes that can be undone, newest last. @type {number[]} */
  #mine = [];
  /** @type {import("./board/card-dialog.js").CardDialog | null} */
  #dialog = null;
  #drag = new Drag(this);
  keyboard = new Keyboard(this);
  #cursors = new Cursors(this);

  /** @param {BoardState} _state */
  build(_state) {
    this.className = "board";
    this.#presence.show(this.live);
    const more = h(
      "button",
      {
        class: "icon-button",
        "aria-label": "Board menu",
        title: "Board menu",
        on: { click: () => boardMenu(more, this) },
      },
      icon("more"),
    );
    fill(
      this,
      h(
        "header",
        { class: "view-head" },
        h("a", { class: "icon-button back", href: "#/boards", "aria-label": "Boards" }, icon("back")),
        h("div", { class: "view-title" }, this.#title),
        this.#filter,
        this.#presence,
        this.#undo,
        more,
      ),
      this.#hint,
      this.lanes,
    );
    fill(this.#addColumn, newColumn(this));
    this.#undo.addEventListener("click", () => this.undo());
    this.#filter.addEventListener("input", () => this.#applyFilter());
    this.#filter.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.#filter.value = "";
      this.#applyFilter();
      this.#filter.blur();
    });
    this.lanes.addEventListener("click", (event) => this.#click(event));
    this.#drag.listen();
    this.keyboard.listen();
    this.#cursors.listen();
    document.addEventListener("keydown", (event) => this.#key(event), { signal: this.whileShown });
    offer(() => [
      { label: "Undo my last change", icon: "undo", run: () => this.undo() },
      { label: "Archived cards", icon: "archive", run: () => archivedDialog(this) },
      { label: "Filter cards", icon: "search", run: () => this.#filter.focus() },
    ]);
  }

  /** @param {BoardState} state */
  update(state) {
    const before = this.#drawn;
    this.#drawn = state;
    this.#title.textContent = state.title;
    const focused = document.activeElement;
    if (before?.tasks !== state.tasks) this.#updateCards(state, before);
    if (before?.columns !== state.columns) this.#updateColumns(state, before);
    this.keyboard.hold();
    if (
      focused instanceof HTMLElement &&
      focused.isConnected &&
      this.contains(focused) &&
      document.activeElement !== focused
    ) {
      focused.focus({ preventScroll: true });
    }
    if (this.#filter.value !== "") this.#applyFilter();
    this.#dialog?.update(state);
  }

  /** @param {BoardState} state @param {BoardState | null} before */
  #updateCards(state, before) {
    for (const id in state.tasks) {
      const task = state.tasks[id];
      if (before && before.tasks[id] === task) continue;
      const known = this.cards.get(id);
      if (known) fillCard(known, task);
      else if (!task.archived) this.cards.set(id, makeCard(task));
    }
    if (!before) return;
    for (const id in before.tasks) {
      if (id in state.tasks) continue;
      this.cards.get(id)?.remove();
      this.cards.delete(id);
    }
  }

  /** @param {BoardState} state @param {BoardState | null} before */
  #updateColumns(state, before) {
    for (const [id, element] of this.columns) {
      if (state.columns.some((column) => column.id === id)) continue;
      element.remove();
      this.columns.delete(id);
    }
    const known = new Map((before?.columns ?? []).map((column) => [column.id, column]));
    const elements = state.columns.map((column) => {
      const element = this.columns.get(column.id) ?? new ColumnElement(this, column.id);
      this.columns.set(column.id, element);
      if (known.get(column.id) !== column || !element.filled)
        element.show(column, this.#cardsOf(column.tasks, state));
      return element;
    });
    arrange(this.lanes, [...elements, this.#addColumn, ...this.#cursors.elements]);
  }

  /** @param {string[]} ids @param {BoardState} state @returns {HTMLElement[]} */
  #cardsOf(ids, state) {
    const found = [];
    for (const id of ids) {
      let card = this.cards.get(id);
      const task = state.tasks[id];
      if (!card && task) this.cards.set(id, (card = makeCard(task)));
      if (card) found.push(card);
    }
    return found;
  }

  /** @returns {BoardState} */
  get state() {
    return this.live.state;
  }

  /** @param {string} id @returns {{column: import("../core/types.js").Column, index: number} | null} */
  placeOf(id) {
    for (const column of this.state.columns) {
      const index = column.tasks.indexOf(id);
      if (index >= 0) return { column, index };
    }
    return null;
  }

  /**
   * Moves a card at once and takes it back if it is refused.
   * @param {string} task
   * @param {string} column
   * @param {string | null} after
   */
  async move(task, column, after) {
    const place = this.placeOf(task);
    if (!place) return;
    const before = place.index === 0 ? null : place.column.tasks[place.index - 1];
    if (place.column.id === column && before === after) return this.update(this.state);
    const ok = await this.send({ type: "moveTask", task, column, after, expectColumn: place.column.id });
    const card = this.cards.get(task);
    if (ok === null && card) {
      card.classList.add("bounced");
      window.setTimeout(() => card.classList.remove("bounced"), 900);
    }
  }

  /** @param {import("../core/types.js").Change} change */
  changed(change) {
    if (change.by !== session.principal) return;
    const { undoes } = change.data;
    if (undoes) this.#mine = this.#mine.filter((seq) => seq !== undoes);
    else if (change.type !== "boardCreated") this.#mine.push(change.seq);
    this.#undo.disabled = this.#mine.length === 0;
  }

  async undo() {
    const seq = this.#mine.pop();
    this.#undo.disabled = this.#mine.length === 0;
    if (seq === undefined) return toast("There is nothing of yours to undo since you opened this board.");
    const ok = await this.send({ type: "undo", seq });
    if (ok)
      toast("Undone.", {
        tone: "good",
        stay: 2_500,
        action: { label: "Redo", run: () => this.send({ type: "redo", seq }) },
      });
  }

  /** @param {string} id */
  openCard(id) {
    if (!this.state.tasks[id] || this.#dialog) return;
    this.#dialog = cardDialog(this, id, () => {
      this.#dialog = null;
      this.cards.get(id)?.focus({ preventScroll: true });
    });
  }

  /** @param {{signal: string, by: string, data: any}} signal */
  signalled({ signal, by, data }) {
    if (signal === "cursor" && by !== session.principal) this.#cursors.show(plainName(by), data);
  }

  gone() {
    this.#drag.cancel();
    this.#cursors.stop();
    offer(() => []);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {Element} */ (event.target);
    const card = /** @type {HTMLElement | null} */ (target.closest(".card"));
    if (!card || this.#drag.justEnded) return;
    const id = card.dataset.task ?? "";
    const button = /** @type {HTMLElement | null} */ (target.closest(".card-move"));
    if (button) openMoveMenu(this, button, id);
    else this.openCard(id);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (document.querySelector("dialog") || isTyping(event)) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey) {
      event.preventDefault();
      this.undo();
    } else if (event.key === "/" && !event.ctrlKey) {
      event.preventDefault();
      this.#filter.focus();
    }
  }

  #applyFilter() {
    const words = this.#filter.value.trim().toLowerCase();
    const { tasks } = this.state;
    for (const [id, card] of this.cards) {
      const task = tasks[id];
      const text = task
        ? `${task.title} ${task.labels.join(" ")} ${task.assignees.join(" ")}`.toLowerCase()
        : "";
      card.hidden = words !== "" && !text.includes(words);
    }
  }
}

customElements.define("sy-board", BoardView);
