// The list of keys, opened by `?`.

import { h } from "../core/dom.js";
import { openDialog } from "./dialog.js";

/** @type {[string, [string, string][]][]} */
const KEYS = [
  [
    "Everywhere",
    [
      ["Ctrl K", "Search, go, do"],
      ["?", "These keys"],
      ["1 – 4", "Rooms, boards, events, status"],
      ["Esc", "Close, cancel"],
    ],
  ],
  [
    "Board",
    [
      ["Arrows", "From card to card"],
      ["Space", "Lift the card; drop it again"],
      ["Arrows, lifted", "Move it"],
      ["Enter", "Open the card"],
      ["M", "Move to…"],
      ["N", "New card in this column"],
      ["/", "Filter"],
      ["Ctrl Z", "Undo your last change"],
    ],
  ],
  [
    "Room",
    [
      ["Enter", "Send"],
      ["Shift Enter", "New line"],
      ["↑ in an empty field", "Edit your last message"],
      ["Esc", "Stop replying or editing"],
    ],
  ],
];

export function showKeys() {
  openDialog(
    "Keys",
    KEYS.map(([title, keys]) =>
      h(
        "section",
        { class: "keys" },
        h("h3", {}, title),
        h(
          "dl",
          {},
          keys.map(([key, meaning]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, meaning))),
        ),
      ),
    ),
  );
}
