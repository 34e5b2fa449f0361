// Where one writes: Enter sends, drafts stay, others see that one is typing.

import { h, fill, throttle } from "../../core/dom.js";
import { itemId, plainName } from "../../core/ids.js";
import { session } from "../../core/session.js";
import { plainText } from "../../parts/content.js";
import { Mentions } from "./mentions.js";
import { icon } from "../../parts/icons.js";

/** How often others are told that one is typing, in milliseconds. */
const TYPING_EVERY = 3_000;

/** @typedef {import("../../core/types.js").Message} Message */

export class Composer {
  #field;
  #reply = h("div", { class: "replying", hidden: true });
  #note = h("div", { class: "composer-note" });
  /** @type {Message | null} */
  #replied = null;

  /**
   * @param {import("../room.js").RoomView} room
   * @param {{thread: string | null, timeline: import("./timeline.js").Timeline}} options
   */
  constructor(room, { thread, timeline }) {
    this.room = room;
    this.thread = thread;
    this.timeline = timeline;
    this.draftKey = `switchyard.draft.${room.entity}.${thread ?? ""}`;
    this.#field = h("textarea", {
      testid: thread ? "thread-composer" : "composer",
      rows: 1,
      maxLength: 40_000,
      "aria-label": thread ? "Reply in the thread" : "Message",
      placeholder: thread ? "Reply in the thread" : "Write a message",
      value: sessionStorage.getItem(this.draftKey) ?? "",
    });
    const send = h(
      "button",
      {
        class: "icon-button send",
        "aria-label": "Send",
        title: "Send",
        testid: thread ? "thread-send" : "send",
        on: { click: () => this.#send() },
      },
      icon("send"),
    );
    this.mentions = new Mentions(this.#field, () =>
      [...new Set([...Object.keys(room.live.state.members), ...room.live.present])]
        .filter((name) => name !== session.name)
        .sort(),
    );
    this.element = h(
      "div",
      { class: "composer" },
      this.mentions.element,
      this.#reply,
      h("div", { class: "composer-box" }, this.#field, send),
      this.#note,
    );
    const typing = throttle(() => room.signal("typing", {}), TYPING_EVERY);
    this.#field.addEventListener("input", () => {
      this.#grow();
      sessionStorage.setItem(this.draftKey, this.#field.value);
      if (this.#field.value !== "") typing();
    });
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    queueMicrotask(() => this.#grow());
  }

  focus() {
    this.#field.focus();
  }

  /** @param {import("../../core/types.js").RoomState} state */
  update(state) {
    const { name } = session;
    const mutedUntil = state.muted[name];
    const readOnly = this.room.role === "readOnly";
    this.#field.disabled = readOnly;
    const words =
      name in state.muted
        ? `You are muted${mutedUntil ? ` until ${new Date(mutedUntil).toLocaleString()}` : ""}.`
        : readOnly
          ? "You may read here, not write."
          : state.slowMode > 0 && !this.room.isModerator
            ? `Slow mode: one message in ${state.slowMode} seconds.`
            : "";
    if (this.#note.textContent !== words) this.#note.textContent = words;
  }

  /** @param {Message | null} message */
  replyTo(message) {
    this.#replied = message;
    this.#reply.hidden = message === null;
    if (!message) return;
    fill(
      this.#reply,
      icon("reply"),
      h(
        "span",
        {},
        "Replying to ",
        h("b", {}, plainName(message.author)),
        ` ${plainText(message).slice(0, 80)}`,
      ),
      h(
        "button",
        { class: "icon-button small", "aria-label": "Do not reply", on: { click: () => this.replyTo(null) } },
        icon("close"),
      ),
    );
    this.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (this.mentions.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "ArrowUp" && this.#field.value === "") {
      event.preventDefault();
      this.timeline.editLast();
    } else if (event.key === "Escape" && this.#replied) {
      this.replyTo(null);
    }
  }

  #send() {
    const text = this.#field.value.trim();
    if (text === "") return;
    const replyTo = this.#replied ? { replyTo: this.#replied.id } : {};
    const thread = this.thread ? { thread: this.thread } : {};
    const sent = this.room.send({ type: "post", message: itemId(), text, ...replyTo, ...thread });
    this.#put("");
    this.replyTo(null);
    // What was refused (slow mode, a mute) is not lost.
    sent.then((ok) => {
      if (ok === null && this.#field.value === "") this.#put(text);
    });
  }

  /** @param {string} text */
  #put(text) {
    this.#field.value = text;
    sessionStorage.setItem(this.draftKey, text);
    this.#grow();
  }

  #grow() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${Math.min(this.#field.scrollHeight, 200)}px`;
  }
}
