// A card opened: every field is saved when it is left, and follows what others change meanwhile.

import { h, fill } from "../../core/dom.js";
import { fromInput, toInput } from "../../core/time.js";
import { avatar } from "../../parts/avatar.js";
import { confirmDanger, openDialog } from "../../parts/dialog.js";
import { icon } from "../../parts/icons.js";
import { checklistPart, commentsPart, listField } from "./card-parts.js";
import { chip } from "./card.js";

/**
 * @typedef {import("../../core/types.js").BoardState} BoardState
 * @typedef {import("../../core/types.js").Task} Task
 * @typedef {import("../board.js").BoardView} BoardView
 * @typedef {{update: (state: BoardState) => void}} CardDialog
 */

/** @type {[string, string][]} */
const PRIORITIES = [
  ["", "None"],
  ["low", "Low"],
  ["medium", "Medium"],
  ["high", "High"],
  ["urgent", "Urgent"],
];

/** @param {BoardView} board @param {string} id @param {() => void} closed @returns {CardDialog} */
export function cardDialog(board, id, closed) {
  const task = () => board.state.tasks[id];
  const save = (/** @type {Record<string, any>} */ fields) =>
    board.send({ type: "updateTask", task: id, ...fields });

  const title = h("textarea", {
    class: "card-dialog-title",
    rows: 1,
    maxLength: 200,
    "aria-label": "Title",
    testid: "card-title",
  });
  title.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      title.blur();
    }
  });
  title.addEventListener("change", () => {
    const value = title.value.trim().replace(/\s+/g, " ");
    if (value !== "" && value !== task().title) save({ title: value });
  });
  const description = h("textarea", {
    rows: 5,
    placeholder: "What is this about? Markdown is fine.",
    testid: "card-description",
    "aria-label": "Description",
  });
  description.addEventListener("change", () =>
    save({ description: description.value.trim() === "" ? null : description.value }),
  );
  const priority = h(
    "select",
    { testid: "card-priority" },
    PRIORITIES.map(([value, label]) => h("option", { value }, label)),
  );
  priority.addEventListener("change", () => save({ priority: priority.value || null }));
  const due = h("input", { type: "datetime-local", testid: "card-due" });
  due.addEventListener("change", () => save({ due: fromInput(due.value) }));
  const column = h("select", { testid: "card-column" });
  column.addEventListener("change", () => board.move(id, column.value, null));
  const labels = listField(
    "Labels",
    "card-labels",
    (text) => chip(text),
    () => task().labels,
    (next) => save({ labels: next }),
  );
  const assignees = listField(
    "Assignees",
    "card-assignees",
    (name) => h("span", { class: "assignee" }, avatar(name, "small"), name),
    () => task().assignees,
    (next) => save({ assignees: next }),
    () => [...new Set([...Object.keys(board.state.members), ...board.live.present])].sort(),
  );
  const checklist = checklistPart(board, id);
  const comments = commentsPart(board, id);

  const archive = h(
    "button",
    {
      class: "button quiet",
      testid: "card-archive",
      on: {
        click: () => {
          board.send({ type: "archiveTask", task: id });
          dialog.close();
        },
      },
    },
    icon("archive"),
    "Archive",
  );
  const remove = h(
    "button",
    {
      class: "button quiet danger-text",
      testid: "card-delete",
      on: {
        click: async () => {
          if (
            !(await confirmDanger(
              "Delete the card?",
              "It can be brought back by undoing, not from the archive.",
              "Delete",
            ))
          )
            return;
          board.send({ type: "deleteTask", task: id });
          dialog.close();
        },
      },
    },
    icon("trash"),
    "Delete",
  );

  const dialog = openDialog(
    "Card",
    [
      h(
        "div",
        { class: "card-dialog" },
        title,
        h(
          "div",
          { class: "card-dialog-main" },
          h("label", { class: "field" }, h("span", {}, "Description"), description),
          checklist.element,
          comments.element,
        ),
        h(
          "div",
          { class: "card-dialog-side" },
          h("label", { class: "field" }, h("span", {}, "Column"), column),
          h("label", { class: "field" }, h("span", {}, "Priority"), priority),
          h("label", { class: "field" }, h("span", {}, "Due"), due),
          assignees.element,
          labels.element,
          h("div", { class: "buttons start" }, archive, remove),
        ),
      ),
    ],
    { wide: true, onClose: closed },
  );
  dialog.classList.add("card-open");
  dialog.dataset.testid = "card-dialog";

  /** @type {Task | null} */
  let drawn = null;
  const update = (/** @type {BoardState} */ state) => {
    const now = state.tasks[id];
    if (!now) return dialog.close();
    put(column, now.column, () =>
      fill(column, ...state.columns.map((one) => h("option", { value: one.id }, one.title))),
    );
    if (now === drawn) return;
    drawn = now;
    put(title, now.title);
    put(description, now.description ?? "");
    put(priority, now.priority ?? "");
    put(due, now.due ? toInput(now.due) : "");
    labels.update();
    assignees.update();
    checklist.update(now);
    comments.update(now);
    title.style.height = "auto";
    title.style.height = `${title.scrollHeight}px`;
  };
  update(board.state);
  dialog.querySelector("h2")?.setAttribute("tabindex", "-1");
  return { update };
}

/**
 * Sets a field, unless somebody is writing in it.
 * @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field
 * @param {string} value
 * @param {() => void} [prepare]
 */
function put(field, value, prepare) {
  if (document.activeElement === field && !(field instanceof HTMLSelectElement)) return;
  prepare?.();
  if (field.value !== value) field.value = value;
}
