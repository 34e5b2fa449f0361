// The parts of an opened card that are lists: labels and assignees, checklist, comments.

import { h, fill } from "../../core/dom.js";
import { itemId, plainName } from "../../core/ids.js";
import { ago } from "../../core/time.js";
import { avatar } from "../../parts/avatar.js";

/**
 * @typedef {import("../../core/types.js").Task} Task
 * @typedef {import("../board.js").BoardView} BoardView
 */

/**
 * A list of short texts with a field that adds one.
 * @param {string} label
 * @param {string} testid
 * @param {(text: string) => HTMLElement} draw
 * @param {() => string[]} read
 * @param {(next: string[]) => void} write
 * @param {() => string[]} [suggest]
 */
export function listField(label, testid, draw, read, write, suggest) {
  const chips = h("div", { class: "chips" });
  const options = h("datalist", { id: `${testid}-options` });
  const field = h("input", {
    type: "text",
    maxLength: 64,
    placeholder: "Add",
    "aria-label": `Add to ${label.toLowerCase()}`,
    testid,
    list: `${testid}-options`,
    autocomplete: "off",
  });
  const add = () => {
    const value = field.value.trim();
    field.value = "";
    if (value !== "" && !read().includes(value)) write([...read(), value]);
  };
  field.addEventListener("focus", () =>
    fill(options, ...(suggest?.() ?? []).map((value) => h("option", { value }))),
  );
  field.addEventListener("change", add);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === ",") {
      event.preventDefault();
      add();
    }
  });
  const update = () =>
    fill(
      chips,
      ...read().map((text) =>
        h(
          "span",
          { class: "removable" },
          draw(text),
          h(
            "button",
            {
              type: "button",
              "aria-label": `Remove ${text}`,
              on: { click: () => write(read().filter((one) => one !== text)) },
            },
            "×",
          ),
        ),
      ),
    );
  return { element: h("div", { class: "field" }, h("span", {}, label), chips, field, options), update };
}

/** @param {BoardView} board @param {string} id */
export function checklistPart(board, id) {
  const list = h("ul", { class: "checklist" });
  const progress = h("span", { class: "muted" });
  const field = h("input", {
    type: "text",
    placeholder: "Add an item",
    maxLength: 500,
    testid: "checklist-add",
    "aria-label": "Add a checklist item",
  });
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
    fill(
      list,
      ...checklist.map((item) =>
        h(
          "li",
          {},
          h(
            "label",
            {},
            h("input", {
              type: "checkbox",
              checked: item.done,
              on: {
                change: (/** @type {Event} */ e) =>
                  board.send({
                    type: "setChecklistItem",
                    task: id,
                    item: item.id,
                    done: /** @type {HTMLInputElement} */ (e.target).checked,
                  }),
              },
            }),
            h("span", { class: item.done ? "done" : "" }, item.text),
          ),
        ),
      ),
    );
  };
  return { element: h("section", {}, h("h3", {}, "Checklist ", progress), list, field), update };
}

/** @param {BoardView} board @param {string} id */
export function commentsPart(board, id) {
  const list = h("ul", { class: "comments" });
  const field = h("textarea", {
    rows: 2,
    placeholder: "Write a comment",
    testid: "comment-text",
    "aria-label": "Comment",
  });
  const send = () => {
    const text = field.value.trim();
    if (text === "") return;
    field.value = "";
    board.send({ type: "addComment", task: id, comment: itemId(), text });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  const update = (/** @type {Task} */ { comments }) =>
    fill(
      list,
      ...comments.map((one) =>
        h(
          "li",
          { testid: "comment" },
          avatar(one.by),
          h(
            "div",
            {},
            h(
              "div",
              { class: "message-head" },
              h("span", { class: "author" }, plainName(one.by)),
              h("time", {}, ago(one.at)),
            ),
            h("p", {}, one.text),
          ),
        ),
      ),
    );
  return {
    element: h(
      "section",
      {},
      h("h3", {}, "Comments"),
      list,
      field,
      h(
        "div",
        { class: "buttons start" },
        h("button", { class: "button small", testid: "comment-send", on: { click: send } }, "Comment"),
      ),
    ),
    update,
  };
}
