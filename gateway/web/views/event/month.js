// A month as a grid of weeks.

import { h } from "../../core/dom.js";
import { hrefOf } from "../../core/places.js";
import { clock, dayKey, format } from "../../core/time.js";
import { icon } from "../../parts/icons.js";

/** Events that a day shows; the rest is counted. */
const MOST = 3;

/** @param {Date} month @param {import("../events.js").Entry[]} entries @param {(by: number) => void} turn */
export function monthGrid(month, entries, turn) {
  const first = new Date(month.getFullYear(), month.getMonth(), 1);
  // Weeks begin on Monday.
  const start = new Date(first);
  start.setDate(1 - ((first.getDay() + 6) % 7));
  const today = dayKey(new Date());
  /** @type {HTMLElement[]} */
  const cells = [];
  for (let at = 0; at < 42; at++) {
    const date = new Date(start.getFullYear(), start.getMonth(), start.getDate() + at);
    if (at === 35 && date.getMonth() !== month.getMonth()) break;
    cells.push(cell(date, date.getMonth() === month.getMonth(), today, entries));
  }
  const names = [0, 1, 2, 3, 4, 5, 6].map((at) => {
    const date = new Date(start.getFullYear(), start.getMonth(), start.getDate() + at);
    return h("div", { class: "month-name" }, format(date, { weekday: "short" }));
  });
  return h(
    "div",
    { class: "month" },
    h(
      "header",
      { class: "month-head" },
      h(
        "button",
        { class: "icon-button", "aria-label": "Month before", on: { click: () => turn(-1) } },
        icon("back"),
      ),
      h("h2", { "aria-live": "polite" }, format(first, { month: "long", year: "numeric" })),
      h(
        "button",
        { class: "icon-button", "aria-label": "Month after", on: { click: () => turn(1) } },
        icon("next"),
      ),
      h("button", { class: "button quiet small", on: { click: () => turn(0) } }, "Today"),
    ),
    h("div", { class: "month-grid" }, names, cells),
  );
}

/** @param {Date} date @param {boolean} inside @param {string} today @param {import("../events.js").Entry[]} entries */
function cell(date, inside, today, entries) {
  const key = dayKey(date);
  const shown = entries.filter((entry) => dayKey(entry.start) <= key && key <= dayKey(entry.end));
  const classes = [
    "month-cell",
    inside ? "" : "outside",
    key === today ? "today" : "",
    shown.length > 0 ? "busy" : "",
  ].join(" ");
  return h(
    "div",
    { class: classes, "aria-label": format(date, { dateStyle: "full" }) },
    h("span", { class: "month-number" }, String(date.getDate())),
    shown.slice(0, MOST).map((entry) =>
      h(
        "a",
        {
          class: "month-event",
          href: hrefOf(entry.entity),
          title: entry.title,
          data: { state: entry.status },
        },
        h("span", { class: "month-time" }, clock(entry.start)),
        h("span", {}, entry.title),
      ),
    ),
    shown.length > MOST && h("small", { class: "muted" }, `${shown.length - MOST} more`),
  );
}
