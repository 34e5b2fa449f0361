// The command palette: everything one can go to or do, by typing a part of its name.

import { h, fill, debounce } from "../core/dom.js";
import { list } from "../core/http.js";
import { go, hrefOf, recents } from "../core/places.js";
import { parseEntity } from "../core/ids.js";
import { session } from "../core/session.js";
import { nextTheme } from "../core/theme.js";
import { openDialog } from "./dialog.js";
import { icon } from "./icons.js";
import { showKeys } from "./keys.js";

/** @typedef {{label: string, icon: import("./icons.js").IconName, hint?: string, run: () => void}} Entry */

/** What the view that is open adds. @type {() => Entry[]} */
let contextual = () => [];

/** @param {() => Entry[]} entries */
export function offer(entries) {
  contextual = entries;
}

/** @returns {Entry[]} */
function standing() {
  return [
    { label: "Rooms", icon: "room", hint: "1", run: () => go("#/rooms") },
    { label: "Boards", icon: "board", hint: "2", run: () => go("#/boards") },
    { label: "Events", icon: "event", hint: "3", run: () => go("#/events") },
    { label: "Status", icon: "status", hint: "4", run: () => go("#/status") },
    { label: "Change the theme", icon: "contrast", run: nextTheme },
    { label: "Keys", icon: "keys", hint: "?", run: showKeys },
    { label: "Sign out", icon: "out", run: () => session.signOut() },
  ];
}

/** @param {string} entity @param {string} title @returns {Entry} */
function place(entity, title) {
  const { kind } = parseEntity(entity);
  return { label: title, icon: kind, hint: kind, run: () => go(hrefOf(entity)) };
}

export function openPalette() {
  if (document.querySelector("dialog")) return;
  /** @type {Entry[]} */
  let found = [];
  /** @type {Entry[]} */
  let shown = [];
  let chosen = 0;
  const results = h("div", {
    class: "palette-list",
    role: "listbox",
    id: "palette-list",
    "aria-label": "Results",
  });
  const input = h("input", {
    class: "palette-input",
    type: "text",
    testid: "palette-input",
    placeholder: "Go to a room, board or event, or do something",
    role: "combobox",
    "aria-controls": "palette-list",
    "aria-expanded": "true",
    "aria-autocomplete": "list",
    autocomplete: "off",
    spellcheck: false,
    "aria-label": "Search",
  });

  const run = (/** @type {Entry | undefined} */ entry) => {
    if (!entry) return;
    dialog.close();
    entry.run();
  };
  const choose = (/** @type {number} */ index) => {
    chosen = Math.max(0, Math.min(index, shown.length - 1));
    [...results.children].forEach((child, at) => child.setAttribute("aria-selected", String(at === chosen)));
    results.children[chosen]?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `palette-${chosen}`);
  };
  const render = () => {
    const query = input.value.trim().toLowerCase();
    const own = [...contextual(), ...recents().map((one) => place(one.entity, one.title)), ...standing()];
    const matching = own.filter((entry) => entry.label.toLowerCase().includes(query));
    const known = new Set(matching.map((entry) => `${entry.icon} ${entry.label}`));
    shown = [...matching, ...found.filter((entry) => !known.has(`${entry.icon} ${entry.label}`))];
    fill(
      results,
      ...shown.map((entry, at) =>
        h(
          "div",
          {
            class: "palette-entry",
            role: "option",
            id: `palette-${at}`,
            on: { click: () => run(entry), pointermove: () => choose(at) },
          },
          icon(entry.icon),
          h("span", {}, entry.label),
          entry.hint && h("span", { class: "hint" }, entry.hint),
        ),
      ),
    );
    if (shown.length === 0) fill(results, h("p", { class: "muted empty" }, "Nothing has that name."));
    choose(0);
  };
  const search = debounce(async () => {
    const q = input.value.trim();
    const kinds = /** @type {const} */ (["room", "board", "event"]);
    const lists = await Promise.all(
      kinds.map((kind) => list(kind, { q, limit: 8 }).catch(() => ({ items: [] }))),
    );
    if (q !== input.value.trim()) return;
    found = lists.flatMap(({ items }) => items.map((item) => place(item.entity, item.title)));
    render();
  }, 150);

  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter") run(shown[chosen]);
    else return;
    event.preventDefault();
  };
  input.addEventListener("input", () => {
    render();
    search();
  });
  input.addEventListener("keydown", keys);
  const dialog = openDialog(
    "Search",
    [h("div", { class: "palette-field" }, icon("search"), input), results],
    { bare: true },
  );
  dialog.classList.add("palette");
  input.focus();
  render();
  search();
}
