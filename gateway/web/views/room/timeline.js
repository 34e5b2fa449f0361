// The messages of a room or of one thread, oldest first. Only rows whose message or neighbours
// changed are made anew.

import { h, arrange } from "../../core/dom.js";
import { dayKey, dayName } from "../../core/time.js";
import { session } from "../../core/session.js";
import { messageRow } from "./message.js";

/** Messages of one author closer than this stand together, in milliseconds. */
const TOGETHER = 5 * 60_000;
/** So near to the end counts as being there, in pixels. */
const NEAR_END = 80;

/**
 * @typedef {import("../../core/types.js").Message} Message
 * @typedef {import("../../core/types.js").RoomState} RoomState
 */

export class Timeline {
  element = h("div", { class: "timeline", tabIndex: 0, role: "log", "aria-label": "Messages" });
  #list = h("div", { class: "messages" });
  /** @type {Map<string, {key: unknown[], element: HTMLElement}>} */
  #rows = new Map();
  #divider = h("div", { class: "divider unread", role: "separator" }, h("span", {}, "New"));
  /** The message after which everything was new when the room was opened. @type {string | null} */
  #readTo = null;
  #opened = new Date().toISOString();
  #first = true;
  /** The message that is edited in place. @type {string | null} */
  editing = null;

  /**
   * @param {import("../room.js").RoomView} room
   * @param {{thread: string | null}} options
   */
  constructor(room, { thread }) {
    this.room = room;
    this.thread = thread;
    this.element.append(this.#list);
    this.element.addEventListener("scroll", () => this.atEnd && room.readSoon(), { passive: true });
    new ResizeObserver(() => this.#stick && this.toEnd()).observe(this.element);
    new ResizeObserver(() => this.#stick && this.toEnd()).observe(this.#list);
    this.element.addEventListener("scroll", () => (this.#stick = this.atEnd), { passive: true });
  }

  /** Whether the end stays in sight when something is added. */
  #stick = true;

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }

  /** @param {RoomState} state */
  update(state) {
    if (this.#first) this.#readTo = state.reads[session.name] ?? null;
    const shown = state.messages.filter((message) =>
      this.thread === null
        ? message.thread === null
        : message.thread === this.thread || message.id === this.thread,
    );
    const replies = this.thread === null ? countReplies(state.messages) : new Map();
    const divider = this.thread === null ? this.#firstUnread(shown) : null;
    const pins = new Set(state.pins);
    /** @type {Element[]} */
    const elements = [];
    /** @type {Message | null} */
    let before = null;
    if (this.thread === null && this.room.hasEarlier(state)) elements.push(this.#earlier);
    for (const message of shown) {
      if (before === null || dayKey(before.at) !== dayKey(message.at)) elements.push(this.#day(message.at));
      if (message.id === divider) elements.push(this.#divider);
      const joins = before !== null && message.id !== divider && standTogether(before, message);
      const quoted = message.replyTo
        ? (state.messages.find((one) => one.id === message.replyTo) ?? null)
        : null;
      const key = [
        message,
        joins,
        replies.get(message.id),
        pins.has(message.id),
        quoted,
        this.editing === message.id,
      ];
      elements.push(
        this.#row(message, key, () =>
          messageRow(this, message, {
            joins,
            quoted,
            replies: replies.get(message.id) ?? null,
            pinned: pins.has(message.id),
          }),
        ),
      );
      before = message;
    }
    if (shown.length === 0) elements.push(this.#empty(state));
    this.#forget(shown);
    arrange(this.#list, elements);
    const last = shown.at(-1);
    if (this.#first || last?.waiting || this.#stick) this.toEnd();
    if (this.#first && divider !== null) this.#divider.scrollIntoView({ block: "center" });
    this.#first = false;
  }

  /** @param {Message} message @param {unknown[]} key @param {() => HTMLElement} make */
  #row(message, key, make) {
    const known = this.#rows.get(message.id);
    if (known && known.key.every((part, at) => part === key[at])) return known.element;
    const element = make();
    if (known?.element.contains(document.activeElement)) keepFocus(known.element, element);
    this.#rows.set(message.id, { key, element });
    return element;
  }

  #earlier = h(
    "div",
    { class: "earlier" },
    h(
      "button",
      {
        class: "button quiet small",
        testid: "load-earlier",
        on: { click: () => this.room.loadEarlier() },
      },
      "Earlier messages",
    ),
  );

  /** Leaves what is in sight where it is while something is added above. @param {() => void} work */
  keepPlace(work) {
    const { scrollHeight, scrollTop } = this.element;
    this.#stick = false;
    work();
    this.element.scrollTop = this.element.scrollHeight - scrollHeight + scrollTop;
  }

  /** @type {Map<string, HTMLElement>} */
  #days = new Map();

  /** @param {string} at */
  #day(at) {
    const key = dayKey(at);
    const known =
      this.#days.get(key) ?? h("div", { class: "divider", role: "separator" }, h("span", {}, dayName(at)));
    this.#days.set(key, known);
    return known;
  }

  /** @param {RoomState} state */
  #empty({ title }) {
    return h(
      "div",
      { class: "empty-room" },
      h("h2", {}, `This is ${title}`),
      h(
        "p",
        { class: "muted" },
        "Nothing has been said yet. Markdown works: **bold**, `code`, lists, @mentions.",
      ),
    );
  }

  /** @param {Message[]} shown @returns {string | null} */
  #firstUnread(shown) {
    if (this.#readTo === null) return null;
    const read = shown.findIndex((message) => message.id === this.#readTo);
    if (read < 0) return null;
    const first = shown.slice(read + 1).find((message) => message.author !== session.principal);
    // What arrives while one looks is not announced as unread.
    return first && first.at < this.#opened ? first.id : null;
  }

  /** @param {Message[]} shown */
  #forget(shown) {
    if (this.#rows.size <= shown.length + 50) return;
    const ids = new Set(shown.map((message) => message.id));
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
  }

  /** @param {string} id @returns {boolean} Whether it is here. */
  jumpTo(id) {
    const element = this.#rows.get(id)?.element;
    if (!element?.isConnected) return false;
    element.scrollIntoView({ block: "center" });
    element.classList.add("flash");
    window.setTimeout(() => element.classList.remove("flash"), 1_500);
    return true;
  }

  /** @param {string | null} id */
  edit(id) {
    this.editing = id;
    this.room.redraw();
  }

  /** Edits what this person said last. */
  editLast() {
    const mine = this.room.live.state.messages.findLast(
      (/** @type {Message} */ one) =>
        one.author === session.principal && !one.deleted && !one.waiting && one.thread === this.thread,
    );
    if (mine) this.edit(mine.id);
  }
}

/** @param {Message} before @param {Message} message */
function standTogether(before, message) {
  return (
    before.author === message.author &&
    !message.replyTo &&
    !before.deleted &&
    before.origin?.author === message.origin?.author &&
    new Date(message.at).getTime() - new Date(before.at).getTime() < TOGETHER
  );
}

/** @param {Message[]} messages @returns {Map<string, number>} Replies by the thread's first message. */
function countReplies(messages) {
  const counts = new Map();
  for (const { thread, deleted } of messages) {
    if (thread && !deleted) counts.set(thread, (counts.get(thread) ?? 0) + 1);
  }
  return counts;
}

/** @param {HTMLElement} old @param {HTMLElement} fresh */
function keepFocus(old, fresh) {
  const { testid } = /** @type {HTMLElement} */ (document.activeElement).dataset;
  const same =
    testid && old.contains(document.activeElement)
      ? fresh.querySelector(`[data-testid="${CSS.escape(testid)}"]`)
      : null;
  if (same instanceof HTMLElement) queueMicrotask(() => same.focus({ preventScroll: true }));
}
