// A room: its messages, who is here and who is typing, threads, pins and members at the side.

import { h, fill } from "../core/dom.js";
import { plainName } from "../core/ids.js";
import { session } from "../core/session.js";
import { Presence } from "../parts/avatar.js";
import { icon } from "../parts/icons.js";
import { toast } from "../parts/toast.js";
import { offer } from "../parts/palette.js";
import { EntityView } from "./entity.js";
import { Composer } from "./room/composer.js";
import { History } from "./room/history.js";
import { membersPanel } from "./room/members.js";
import { pinsPanel, threadPanel } from "./room/panels.js";
import { Timeline } from "./room/timeline.js";

/** How long a typing signal holds, in milliseconds. */
const TYPING_HOLDS = 5_000;
/** The least time between two read positions sent. */
const READ_EVERY = 3_000;

/** @typedef {{kind: "members"} | {kind: "pins"} | {kind: "thread", root: string}} Panel */

export class RoomView extends EntityView {
  #title = h("h1");
  #topic = h("p", { class: "topic" });
  #presence = new Presence();
  #typing = h("div", { class: "typing", testid: "typing", "aria-live": "polite" });
  #side = h("aside", { class: "side-panel", hidden: true });
  /** @type {Panel | null} */
  #panel = null;
  /** Who types, and the timer that ends it. @type {Map<string, number>} */
  #typists = new Map();
  #history = new History(this.live);
  #timeline = new Timeline(this, { thread: null });
  #composer = new Composer(this, { thread: null, timeline: this.#timeline });
  /** What the side panel was made from. @type {unknown[]} */
  #panelKey = [];
  #readTimer = 0;
  #lastRead = "";

  build() {
    this.className = "room";
    this.#presence.show(this.live);
    const toggle = (/** @type {"members" | "pins"} */ kind) => () =>
      this.openPanel(this.#panel?.kind === kind ? null : { kind });
    const header = h(
      "header",
      { class: "view-head" },
      h("a", { class: "icon-button back", href: "#/rooms", "aria-label": "Rooms" }, icon("back")),
      h("div", { class: "view-title" }, this.#title, this.#topic),
      this.#presence,
      h(
        "button",
        {
          class: "icon-button",
          "aria-label": "Pinned messages",
          title: "Pinned messages",
          testid: "pins-open",
          on: { click: toggle("pins") },
        },
        icon("pin"),
      ),
      h(
        "button",
        {
          class: "icon-button",
          "aria-label": "Members and settings",
          title: "Members and settings",
          testid: "members-open",
          on: { click: toggle("members") },
        },
        icon("people"),
      ),
    );
    fill(
      this,
      header,
      h(
        "div",
        { class: "room-body" },
        h(
          "section",
          { class: "conversation", "aria-label": "Messages" },
          this.#timeline.element,
          this.#typing,
          this.#composer.element,
        ),
        this.#side,
      ),
    );
    offer(() => [
      {
        label: "Members and settings of this room",
        icon: "people",
        run: () => this.openPanel({ kind: "members" }),
      },
      { label: "Pinned messages", icon: "pin", run: () => this.openPanel({ kind: "pins" }) },
    ]);
    const { whileShown: signal } = this;
    document.addEventListener("visibilitychange", () => this.readSoon(), { signal });
    window.addEventListener("focus", () => this.readSoon(), { signal });
    this.live.addEventListener("presence", () => this.#updatePanel(this.live.state), { signal });
    if (matchMedia("(hover: hover)").matches) this.#composer.focus();
  }

  /** @param {import("../core/types.js").RoomState} state */
  update(state) {
    this.#title.textContent = state.title;
    this.#topic.textContent = state.topic ?? "";
    this.#topic.hidden = !state.topic;
    this.#timeline.update(this.#history.merge(state));
    this.#composer.update(state);
    this.#updatePanel(state);
    this.readSoon();
  }

  /** @param {{signal: string, by: string, data: any}} signal */
  signalled({ signal, by, data }) {
    // A bridge says who of its platform it is.
    const name = by.startsWith("bridge:") && data?.user ? String(data.user) : plainName(by);
    if (signal !== "typing" || name === session.name) return;
    clearTimeout(this.#typists.get(name));
    this.#typists.set(
      name,
      window.setTimeout(() => this.#stopped(name), TYPING_HOLDS),
    );
    this.#showTyping();
  }

  /** @param {import("../core/types.js").Change} change */
  changed(change) {
    const { type, by } = change;
    this.#history.take(change);
    if (type === "messagePosted") this.#stopped(plainName(by));
  }

  gone() {
    clearTimeout(this.#readTimer);
    for (const timer of this.#typists.values()) clearTimeout(timer);
    offer(() => []);
  }

  /** @param {string} name */
  #stopped(name) {
    clearTimeout(this.#typists.get(name));
    if (this.#typists.delete(name)) this.#showTyping();
  }

  #showTyping() {
    const names = [...this.#typists.keys()];
    const words =
      names.length === 1
        ? `${names[0]} is typing`
        : names.length === 2
          ? `${names[0]} and ${names[1]} are typing`
          : "Several people are typing";
    fill(
      this.#typing,
      names.length > 0 && [
        h("span", { class: "typing-dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
        words,
      ],
    );
  }

  /** Sends the read position a little later, if the newest message is really seen. */
  readSoon() {
    if (this.#readTimer) return;
    this.#readTimer = window.setTimeout(() => {
      this.#readTimer = 0;
      this.#markRead();
    }, READ_EVERY);
  }

  #markRead() {
    const state = /** @type {import("../core/types.js").RoomState} */ (this.live.state);
    if (!state || !this.live.joined || document.visibilityState !== "visible" || !this.#timeline.atEnd)
      return;
    const last = state.messages.findLast((message) => !message.waiting);
    const mine = state.reads[session.name];
    if (!last || last.id === mine || last.id === this.#lastRead) return;
    const after = state.messages.slice(state.messages.findIndex((message) => message.id === mine) + 1);
    if (after.every((message) => message.author === session.principal)) return;
    this.#lastRead = last.id;
    this.send({ type: "markRead", message: last.id }, { quiet: true });
  }

  /** @param {Panel | null} panel */
  openPanel(panel) {
    this.#panel = panel;
    this.#side.hidden = panel === null;
    this.#side.replaceChildren();
    this.#panelKey = [];
    this.#updatePanel(this.live.state);
  }

  /** @param {import("../core/types.js").RoomState} state */
  #updatePanel(state) {
    const panel = this.#panel;
    if (!panel || !state) return;
    const { title, topic, access, members, muted, banned, requests, slowMode, links, messages, pins } = state;
    const people = [
      title,
      topic,
      access,
      members,
      muted,
      banned,
      requests,
      slowMode,
      links,
      [...this.live.present].join(),
    ];
    const key = panel.kind === "members" ? people : [messages, pins, muted, slowMode];
    if (key.length === this.#panelKey.length && key.every((part, at) => part === this.#panelKey[at])) return;
    this.#panelKey = key;
    const close = () => this.openPanel(null);
    if (panel.kind === "thread") threadPanel(this, this.#side, state, panel.root, close);
    else if (panel.kind === "pins") pinsPanel(this, this.#side, state, close);
    else membersPanel(this, this.#side, state, close);
  }

  /** @param {import("../core/types.js").RoomState} state */
  hasEarlier(state) {
    return this.#history.hasMore(state);
  }

  /** Draws what has not changed but looks different, such as a message that is edited. */
  redraw() {
    this.#panelKey = [];
    this.update(this.live.state);
  }

  async loadEarlier() {
    try {
      await this.#history.load();
      this.#timeline.keepPlace(() => this.#timeline.update(this.#history.merge(this.live.state)));
    } catch (error) {
      toast(/** @type {Error} */ (error).message, { tone: "bad" });
    }
  }

  /** @param {string} id Of a message. */
  jumpTo(id) {
    const message = this.live.state?.messages.find((/** @type {any} */ one) => one.id === id);
    if (message?.thread) this.openPanel({ kind: "thread", root: message.thread });
    else if (!this.#timeline.jumpTo(id)) toast("That message is older than those shown here.");
  }

  /** @param {import("../core/types.js").Message} message */
  reply(message) {
    this.#composer.replyTo(message);
  }

  /** What this person may do here. */
  get role() {
    const state = /** @type {import("../core/types.js").RoomState} */ (this.live.state);
    if (session.isAdmin) return "owner";
    return state.members[session.name] ?? (state.tenantRole === "member" ? "member" : "readOnly");
  }

  get isModerator() {
    return ["owner", "admin", "moderator"].includes(this.role);
  }
}

customElements.define("sy-room", RoomView);
