// A card opened: every field is saved when it is left, and follows what others change meanwhile.

import { h, fill } from "../../core/dom.js";
import { itemId, plainName } from "../../core/ids.js";
import { ago, fromInput, toInput } from "../../core/time.js";
import { avatar } from "../../parts/avatar.js";
import { confirmDanger, openDialog } from "../../parts/dialog.js";
import { icon } from "../../parts/icons.js";
import { chip } from "./card.js";

/**
 * @typedef {import("../../core/types.js").BoardState} BoardState
 * @typedef {import("../../core/types.js").Task} Task
 * @typedef {import("../board.js").BoardView} BoardView
 * @typedef {{update: (state: BoardState) => void}} CardDialog
 */

/** @type {[string, string][]} */
const PRIORITIES = [["", "None"], ["low", "Low"], ["medium", "Medium"], ["high", "High"], ["urgent", "Urgent"]];

/** @param {BoardView} board @param {string} id @param {() => void} closed @returns {CardDialog} */
export function cardDialog(board, id, closed) {
  const task = () => board.state.tasks[id];
  const save = (/** @type {Record<string, any>} */ fields) => board.send({ type: "updateTask", task: id, ...fields });

  const title = h("textarea", { class: "card-dialog-title", rows: 1, maxLength: 200, "aria-label": "Title", testid: "card-title" });
  title.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); title.blur(); }
  });
  title.addEventListener("change", () => {
    const value = title.value.trim().replace(/\s+/g, " ");
    if (value !== "" && value !== task().title) save({ title: value });
  });
  const description = h("textarea", { rows: 5, placeholder: "What is this about? Markdown is fine.", testid: "card-description", "aria-label": "Description" });
  description.addEventListener("change", () => save({ description: description.value.trim() === "" ? null : description.value }));
  const priority = h("select", { testid: "card-priority" }, PRIORITIES.map(([value, label]) => h("option", { value }, label)));
  priority.addEventListener("change", () => save({ priority: priority.value || null }));
  const due = h("input", { type: "datetime-local", testid: "card-due" });
  due.addEventListener("change", () => save({ due: fromInput(due.value) }));
  const column = h("select", { testid: "card-column" });
  column.addEventListener("change", () => board.move(id, column.value, null));
  const labels = listField("Labels", "card-labels", (text) => chip(text), () => task().labels, (next) => save({ labels: next }));
  const assignees = listField("Assignees", "card-assignees", (name) => h("span", { class: "assignee" }, avatar(name, "small"), name), () => task().assignees, (next) => save({ assignees: next }),
    () => [...new Set([...Object.keys(board.state.members), ...board.live.present])].sort());
  const checklist = checklistPart(board, id);
  const comments = commentsPart(board, id);

  const archive = h("button", { class: "button quiet", testid: "card-archive", on: { click: () => { board.send({ type: "archiveTask", task: id }); dialog.close(); } } }, icon("archive"), "Archive");
  const remove = h("button", { class: "button quiet danger-text", testid: "card-delete", on: { click: async () => {
    if (!(await confirmDanger("Delete the card?", "It can be brought back by undoing, not from the archive.", "Delete"))) return;
    board.send({ type: "deleteTask", task: id });
    dialog.close();
  } } }, icon("trash"), "Delete");

  const dialog = openDialog("Card", [h("div", { class: "card-dialog" },
    title,
    h("div", { class: "card-dialog-main" },
      h("label", { class: "field" }, h("span", {}, "Description"), description),
      checklist.element, comments.element),
    h("div", { class: "card-dialog-side" },
      h("label", { class: "field" }, h("span", {}, "Column"), column),
      h("label", { class: "field" }, h("span", {}, "Priority"), priority),
      h("label", { class: "field" }, h("span", {}, "Due"), due),
      assignees.element, labels.element,
      h("div", { class: "buttons start" }, archive, remove)))], { wide: true, onClose: closed });
  dialog.classList.add("card-open");
  dialog.dataset.testid = "card-dialog";

  /** @type {Task | null} */
  let drawn = null;
  const update = (/** @type {BoardState} */ state) => {
    const now = state.tasks[id];
    if (!now) return dialog.close();
    put(column, now.column, () => fill(column, ...state.columns.map((one) => h("option", { value: one.id }, one.title))));
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

/**
 * A list of short texts with a field that adds one.
 * @param {string} label
 * @param {string} testid
 * @param {(text: string) => HTMLElement} draw
 * @param {() => string[]} read
 * @param {(next: string[]) => void} write
 * @param {() => string[]} [suggest]
 */
function listField(label, testid, draw, read, write, suggest) {
  const chips = h("div", { class: "chips" });
  const options = h("datalist", { id: `${testid}-options` });
  const field = h("input", { type: "text", maxLength: 64, placeholder: "Add", "aria-label": `Add to ${label.toLowerCase()}`, testid, list: `${testid}-options`, autocomplete: "off" });
  const add = () => {
    const value = field.value.trim();
    field.value = "";
    if (value !== "" && !read().includes(value)) write([...read(), value]);
  };
  field.addEventListener("focus", () => fill(options, ...(suggest?.() ?? []).map((value) => h("option", { value }))));
  field.addEventListener("change", add);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === ",") { event.preventDefault(); add(); }
  });
  const update = () => fill(chips, ...read().map((text) => h("span", { class: "removable" }, draw(text),
    h("button", { type: "button", "aria-label": `Remove ${text}`, on: { click: () => write(read().filter((one) => one !== text)) } }, "×"))));
  return { element: h("div", { class: "field" }, h("span", {}, label), chips, field, options), update };
}

/** @param {BoardView} board @param {string} id */
function checklistPart(board, id) {
  const list = h("ul", { class: "checklist" });
  const progress = h("span", { class: "muted" });
  const field = h("input", { type: "text", placeholder: "Add an item", maxLength: 500, testid: "checklist-add", "aria-label": "Add a checklist item" });
  field.addEventListener("keydown", (event) => {
    const text = field.value.trim();
    if (event.key !== "Enter" || text === "") return;
    event.preventDefault();
    field.value = "";
    board.send({ type: "addChecklistItem", task: id, item: itemId(), text });
  });
  const update = (/** @type {Task} */ { checklist }) => {
    const done = checklist.filter((item) => item.done).length;
    progress.textContent = checklist.length > 0 ? `${done} of ${checklist.length}` : "";
    fill(list, ...checklist.map((item) => h("li", {}, h("label", {},
      h("input", { type: "checkbox", checked: item.done, on: { change: (/** @type {Event} */ e) => board.send({ type: "setChecklistItem", task: id, item: item.id, done: /** @type {HTMLInputElement} */ (e.target).checked }) } }),
      h("span", { class: item.done ? "done" : "" }, item.text)))));
  };
  return { element: h("section", {}, h("h3", {}, "Checklist ", progress), list, field), update };
}

/** @param {BoardView} board @param {string} id */
function commentsPart(board, id) {
  const list = h("ul", { class: "comments" });
  const field = h("textarea", { rows: 2, placeholder: "Write a comment", testid: "comment-text", "aria-label": "Comment" });
  const send = () => {
    const text = field.value.trim();
    if (text === "") return;
    field.value = "";
    board.send({ type: "addComment", task: id, comment: itemId(), text });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  const update = (/** @type {Task} */ { comments }) => fill(list, ...comments.map((one) => h("li", { testid: "comment" },
    avatar(one.by), h("div", {}, h("div", { class: "message-head" }, h("span", { class: "author" }, plainName(one.by)), h("time", {}, ago(one.at))), h("p", {}, one.text)))));
  return {
    element: h("section", {}, h("h3", {}, "Comments"), list, field,
      h("div", { class: "buttons start" }, h("button", { class: "button small", testid: "comment-send", on: { click: send } }, "Comment"))),
    update,
  };
}
