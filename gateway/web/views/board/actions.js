// What concerns the board as a whole: its name, its members, what was archived.

import { h, fill } from "../../core/dom.js";
import { ask, openDialog } from "../../parts/dialog.js";
import { openMenu } from "../../parts/menu.js";
import { avatar } from "../../parts/avatar.js";

/** @typedef {import("../board.js").BoardView} BoardView */

/** @param {HTMLElement} anchor @param {BoardView} board */
export function boardMenu(anchor, board) {
  openMenu(
    anchor,
    [
      { label: "Rename the board", run: () => rename(board) },
      { label: "Members", run: () => members(board) },
      { label: "Archived cards", testid: "archived-open", run: () => archivedDialog(board) },
      board.state.eventId
        ? {
            label: "Its event",
            run: () => {
              location.hash = `#/events/${String(board.state.eventId).replace("event:", "")}`;
            },
          }
        : null,
      "line",
      { label: "Undo my last change", hint: "Ctrl Z", run: () => board.undo() },
    ],
    "Board",
  );
}

/** @param {BoardView} board */
async function rename(board) {
  const answer = await ask({
    title: "Board",
    submit: "Save",
    fields: [{ name: "title", label: "Name", value: board.state.title, required: true }],
  });
  if (answer && answer.title !== board.state.title) board.send({ type: "updateBoard", title: answer.title });
}

/** @type {[string, string][]} */
const ROLES = [
  ["owner", "Owner"],
  ["editor", "Editor"],
  ["viewer", "Viewer"],
];

/** @param {BoardView} board */
async function members(board) {
  const people = Object.entries(board.state.members).map(([name, role]) =>
    h("li", {}, avatar(name), h("span", { class: "person-name" }, name), h("span", { class: "muted" }, role)),
  );
  const add = async () => {
    dialog.close();
    const answer = await ask({
      title: "Give somebody a role",
      submit: "Save",
      fields: [
        { name: "user", label: "Name", required: true },
        { name: "role", label: "Role", type: "select", options: ROLES, value: "editor" },
      ],
    });
    if (answer) board.send({ type: "setMember", user: answer.user, role: answer.role });
  };
  const dialog = openDialog("Members", [
    h("ul", { class: "people" }, people),
    h(
      "div",
      { class: "buttons start" },
      h("button", { class: "button quiet", on: { click: add } }, "Give somebody a role"),
    ),
  ]);
}

/** @param {BoardView} board */
export function archivedDialog(board) {
  const body = h("div", { class: "archived" });
  const render = () => {
    const { tasks, archivedColumns = [] } = board.state;
    const archived = Object.values(tasks).filter((task) => task.archived);
    fill(
      body,
      archived.length + archivedColumns.length === 0 && h("p", { class: "muted" }, "Nothing is archived."),
      ...archivedColumns.map(({ id, title }) =>
        h(
          "div",
          { class: "archived-row" },
          h("span", {}, `Column ${title}`),
          h(
            "button",
            { class: "link", on: { click: () => board.send({ type: "restoreColumn", column: id }) } },
            "Restore",
          ),
        ),
      ),
      ...archived.slice(0, 500).map((task) =>
        h(
          "div",
          { class: "archived-row", data: { task: task.id } },
          h("span", {}, task.title),
          h(
            "button",
            {
              class: "link",
              testid: "restore",
              on: { click: () => board.send({ type: "restoreTask", task: task.id }) },
            },
            "Restore",
          ),
        ),
      ),
    );
  };
  board.live.addEventListener("update", render);
  render();
  openDialog("Archived", [body], { onClose: () => board.live.removeEventListener("update", render) });
}
