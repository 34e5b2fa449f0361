// "Move to…": the way to move a card without dragging (WCAG 2.2, 2.5.7).

import { announce } from "../../parts/toast.js";
import { openMenu } from "../../parts/menu.js";

/** @param {import("../board.js").BoardView} board @param {HTMLElement} anchor @param {string} task */
export function openMoveMenu(board, anchor, task) {
  const place = board.placeOf(task);
  if (!place) return;
  const { column: from, index } = place;
  const others = from.tasks.filter((id) => id !== task);
  const move =
    (/** @type {import("../../core/types.js").Column} */ column, /** @type {string | null} */ after) =>
    () => {
      board.move(task, column.id, after);
      announce(`Moved to ${column.title}.`);
      board.cards.get(task)?.focus({ preventScroll: true });
    };
  openMenu(
    anchor,
    [
      ...board.state.columns.map((column) => ({
        label: column.title,
        testid: `move-to-${column.id}`,
        disabled: column.id === from.id,
        hint:
          column.id === from.id
            ? "here"
            : column.wip !== null && column.tasks.length >= column.wip
              ? "full"
              : "",
        run: move(column, null),
      })),
      "line",
      { label: "To the top", disabled: index === 0, testid: "move-top", run: move(from, null) },
      { label: "Up", disabled: index === 0, run: move(from, others[index - 2] ?? null) },
      { label: "Down", disabled: index >= others.length, run: move(from, others[index] ?? null) },
      {
        label: "To the bottom",
        disabled: index >= others.length,
        testid: "move-bottom",
        run: move(from, others.at(-1) ?? null),
      },
    ],
    "Move to",
  );
}
