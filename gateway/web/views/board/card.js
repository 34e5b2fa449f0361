// A card as it stands in a column. There can be thousands, so it is a copy of one template with
// little in it; everything it does is heard by the board.

import { h } from "../../core/dom.js";
import { format } from "../../core/time.js";
import { avatar, hue } from "../../parts/avatar.js";

/** @typedef {import("../../core/types.js").Task} Task */

const template = h(
  "li",
  { class: "card", tabIndex: -1, testid: "card", "aria-describedby": "board-hint" },
  h("div", { class: "card-title" }),
  h(
    "button",
    {
      class: "card-move",
      testid: "card-move",
      tabIndex: -1,
      title: "Move to…",
      "aria-haspopup": "menu",
      "aria-label": "Move to…",
    },
    "⋯",
  ),
);

/** @param {Task} task @returns {HTMLElement} */
export function makeCard(task) {
  const card = /** @type {HTMLElement} */ (template.cloneNode(true));
  card.dataset.task = task.id;
  fillCard(card, task);
  return card;
}

/** @param {HTMLElement} card @param {Task} task */
export function fillCard(card, task) {
  const title = /** @type {HTMLElement} */ (card.firstElementChild);
  if (title.textContent !== task.title) title.textContent = task.title;
  card.dataset.priority = task.priority ?? "";
  const known = card.querySelector(".card-meta");
  const fresh = meta(task);
  if (known && fresh) known.replaceWith(fresh);
  else if (known) known.remove();
  else if (fresh) card.append(fresh);
}

/** @param {Task} task @returns {HTMLElement | null} */
function meta(task) {
  const { priority, labels, due, comments, checklist, assignees, description } = task;
  const done = checklist.filter((item) => item.done).length;
  const parts = [
    priority && priority !== "medium" && h("span", { class: `priority ${priority}` }, priority),
    ...labels.slice(0, 4).map((label) => chip(label)),
    due &&
      h(
        "span",
        { class: new Date(due).getTime() < Date.now() ? "due late" : "due" },
        format(due, { day: "numeric", month: "short" }),
      ),
    checklist.length > 0 && h("span", { class: "count", title: "Checklist" }, `${done}/${checklist.length}`),
    comments.length > 0 &&
      h(
        "span",
        { class: "count", title: "Comments" },
        comments.length === 1 ? "1 comment" : `${comments.length} comments`,
      ),
    description &&
      labels.length === 0 &&
      comments.length === 0 &&
      h("span", { class: "count", title: "Has a description" }, "≡"),
    assignees.length > 0 &&
      h(
        "span",
        { class: "assignees" },
        assignees.slice(0, 4).map((name) => avatar(name, "small")),
      ),
  ];
  const shown = parts.filter(Boolean);
  return shown.length === 0 ? null : h("div", { class: "card-meta" }, shown);
}

/** @param {string} label */
export function chip(label) {
  return h("span", { class: "label", style: { "--hue": String(hue(label)) } }, label);
}
