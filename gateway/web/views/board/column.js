// A column: head with its limit, cards, and the field that adds one.

import { h, fill, arrange } from "../../core/dom.js";
import { itemId } from "../../core/ids.js";
import { ask } from "../../parts/dialog.js";
import { icon } from "../../parts/icons.js";
import { openMenu } from "../../parts/menu.js";

/**
 * @typedef {import("../../core/types.js").Column} Column
 * @typedef {import("../board.js").BoardView} BoardView
 */

export class ColumnElement extends HTMLElement {
  #title = h("h2", { testid: "column-title" });
  #count = h("span", { class: "column-count", testid: "column-count" });
  #foot = h("div", { class: "column-foot" });
  list = h("ol", { class: "cards" });
  filled = false;

  /** @param {BoardView} board @param {string} id */
  constructor(board, id) {
    super();
    this.board = board;
    this.columnId = id;
  }

  connectedCallback() {
    if (this.dataset.column) return;
    this.dataset.column = this.columnId;
    this.dataset.testid = "column";
    this.setAttribute("role", "group");
    const more = h(
      "button",
      {
        class: "icon-button small",
        "aria-label": "Column menu",
        title: "Column menu",
        testid: "column-menu",
        on: { click: () => this.#menu(more) },
      },
      icon("more"),
    );
    fill(this, h("header", { class: "column-head" }, this.#title, this.#count, more), this.list, this.#foot);
    this.#closed();
  }

  /** @param {Column} column @param {HTMLElement[]} cards */
  show(column, cards) {
    this.filled = true;
    this.#title.textContent = column.title;
    this.setAttribute("aria-label", column.title);
    const { wip, tasks } = column;
    this.#count.textContent = wip === null ? String(tasks.length) : `${tasks.length} / ${wip}`;
    this.#count.dataset.state =
      wip === null || tasks.length < wip ? "" : tasks.length === wip ? "full" : "over";
    this.#count.title =
      wip === null ? "Cards" : `Cards, at most ${wip}${column.wipMode === "soft" ? " (a hint)" : ""}`;
    arrange(this.list, cards);
    // One card of each column is reached by Tab, the others by arrows.
    if (!this.list.querySelector('.card[tabindex="0"]'))
      this.list.firstElementChild?.setAttribute("tabindex", "0");
  }

  /** @returns {Column | undefined} */
  get column() {
    return this.board.state.columns.find((one) => one.id === this.columnId);
  }

  #closed() {
    fill(
      this.#foot,
      h(
        "button",
        { class: "add-card", testid: "add-card", on: { click: () => this.addCard() } },
        icon("plus"),
        "Add card",
      ),
    );
  }

  /** Opens the field; Enter adds a card and stays open for the next. */
  addCard() {
    const field = h("textarea", {
      class: "add-card-title",
      testid: "add-card-title",
      rows: 2,
      maxLength: 200,
      placeholder: "What is to be done?",
      "aria-label": `New card in ${this.column?.title ?? ""}`,
    });
    const add = () => {
      const title = field.value.trim().replace(/\s+/g, " ");
      if (title === "") return;
      field.value = "";
      this.board.send({ type: "addTask", task: itemId(), column: this.columnId, title });
      this.list.scrollTop = this.list.scrollHeight;
      field.focus();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") this.#closed();
      else if (event.key === "Enter" && !event.isComposing) {
        event.preventDefault();
        add();
      }
    });
    fill(
      this.#foot,
      h(
        "div",
        { class: "adding" },
        field,
        h(
          "div",
          { class: "buttons start" },
          h("button", { class: "button small", testid: "add-card-submit", on: { click: add } }, "Add"),
          h("button", { class: "button quiet small", on: { click: () => this.#closed() } }, "Done"),
        ),
      ),
    );
    field.focus();
    field.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** @param {HTMLElement} anchor */
  #menu(anchor) {
    const { columns } = this.board.state;
    const at = columns.findIndex((one) => one.id === this.columnId);
    const column = columns[at];
    if (!column) return;
    const move = (/** @type {number} */ after) =>
      this.board.send({ type: "moveColumn", column: column.id, after: columns[after]?.id ?? null });
    openMenu(
      anchor,
      [
        { label: "Add a card", run: () => this.addCard() },
        { label: "Rename", testid: "column-rename", run: () => this.#edit(column) },
        { label: "Set a limit", testid: "column-limit", run: () => this.#edit(column) },
        at > 0 && { label: "Move left", run: () => move(at - 2) },
        at < columns.length - 1 && { label: "Move right", run: () => move(at + 1) },
        "line",
        {
          label: "Archive the column",
          danger: true,
          disabled: column.tasks.length > 0,
          hint: column.tasks.length > 0 ? "not empty" : "",
          run: () => this.board.send({ type: "archiveColumn", column: column.id }),
        },
      ],
      column.title,
    );
  }

  /** @param {Column} column */
  async #edit(column) {
    const answer = await ask({
      title: "Column",
      submit: "Save",
      fields: [
        { name: "title", label: "Title", value: column.title, required: true },
        {
          name: "wip",
          label: "Most cards at once",
          type: "number",
          value: column.wip === null ? "" : String(column.wip),
          hint: "Empty: as many as you like.",
          half: true,
        },
        {
          name: "wipMode",
          label: "When full",
          type: "select",
          value: column.wipMode,
          options: [
            ["hard", "Refuse cards"],
            ["soft", "Only show it"],
          ],
          half: true,
        },
      ],
    });
    if (!answer) return;
    const wip = answer.wip === "" ? null : Number(answer.wip);
    /** @type {Record<string, any>} */
    const changed = {};
    if (answer.title !== column.title) changed.title = answer.title;
    if (wip !== column.wip) changed.wip = wip;
    if (answer.wipMode !== column.wipMode) changed.wipMode = answer.wipMode;
    if (Object.keys(changed).length > 0)
      this.board.send({ type: "updateColumn", column: column.id, ...changed });
  }
}

customElements.define("sy-column", ColumnElement);

/** The button at the right end that adds a column. @param {BoardView} board */
export function newColumn(board) {
  const add = async () => {
    const answer = await ask({
      title: "New column",
      submit: "Add",
      submitTestid: "add-column-submit",
      fields: [{ name: "title", label: "Title", required: true, testid: "add-column-title" }],
    });
    if (answer) board.send({ type: "addColumn", column: itemId(), title: answer.title });
  };
  return h(
    "button",
    { class: "add-column", testid: "add-column", on: { click: add } },
    icon("plus"),
    h("span", {}, "Add column"),
  );
}
