// At the side of a room: one thread, or the pinned messages.

import { h, fill } from "../../core/dom.js";
import { plainName } from "../../core/ids.js";
import { clock, dayName } from "../../core/time.js";
import { renderContent } from "../../parts/content.js";
import { session } from "../../core/session.js";
import { icon } from "../../parts/icons.js";
import { Composer } from "./composer.js";
import { Timeline } from "./timeline.js";

/**
 * @typedef {import("../../core/types.js").RoomState} RoomState
 * @typedef {import("../room.js").RoomView} RoomView
 */

/** @type {WeakMap<HTMLElement, {root: string, timeline: Timeline, composer: Composer}>} */
const threads = new WeakMap();

/** @param {string} title @param {() => void} close */
export function panelHead(title, close) {
  return h(
    "header",
    { class: "panel-head" },
    h("h2", {}, title),
    h(
      "button",
      { class: "icon-button", "aria-label": "Close", testid: "panel-close", on: { click: close } },
      icon("close"),
    ),
  );
}

/** @param {RoomView} room @param {HTMLElement} side @param {RoomState} state @param {string} root @param {() => void} close */
export function threadPanel(room, side, state, root, close) {
  let thread = threads.get(side);
  if (thread?.root !== root || side.childElementCount === 0) {
    const timeline = new Timeline(room, { thread: root });
    const composer = new Composer(room, { thread: root, timeline });
    thread = { root, timeline, composer };
    threads.set(side, thread);
    fill(side, panelHead("Thread", close), timeline.element, composer.element);
    composer.focus();
  }
  thread.timeline.update(state);
  thread.composer.update(state);
}

/** @param {RoomView} room @param {HTMLElement} side @param {RoomState} state @param {() => void} close */
export function pinsPanel(room, side, state, close) {
  const pinned = state.pins.flatMap((id) => state.messages.filter((message) => message.id === id));
  const older = state.pins.length - pinned.length;
  fill(
    side,
    panelHead("Pinned", close),
    h(
      "div",
      { class: "panel-body" },
      pinned.length === 0 && h("p", { class: "muted" }, "Nothing is pinned. Pin a message from its menu."),
      ...pinned.map((message) =>
        h(
          "article",
          { class: "pin" },
          h(
            "div",
            { class: "message-head" },
            h("span", { class: "author" }, plainName(message.author)),
            h("time", {}, `${dayName(message.at)} ${clock(message.at)}`),
          ),
          h("div", { class: "content" }, renderContent(message.content, message.text ?? "", session.name)),
          h(
            "div",
            { class: "buttons start" },
            h("button", { class: "link", on: { click: () => room.jumpTo(message.id) } }, "Show"),
            h(
              "button",
              { class: "link", on: { click: () => room.send({ type: "unpin", message: message.id }) } },
              "Unpin",
            ),
          ),
        ),
      ),
      older > 0 && h("p", { class: "muted" }, `${older} pinned earlier than the messages shown here.`),
    ),
  );
}
