// One message: who, when, what, reactions, and what one can do with it.

import { h } from "../../core/dom.js";
import { plainName } from "../../core/ids.js";
import { session } from "../../core/session.js";
import { clock, format, shortClock } from "../../core/time.js";
import { avatar } from "../../parts/avatar.js";
import { isSafeLink, plainText, renderContent } from "../../parts/content.js";
import { confirmDanger } from "../../parts/dialog.js";
import { PICKER, emojiOf } from "../../parts/emoji.js";
import { icon } from "../../parts/icons.js";
import { closePopover, openMenu, openPopover } from "../../parts/menu.js";

/**
 * @typedef {import("../../core/types.js").Message} Message
 * @typedef {import("./timeline.js").Timeline} Timeline
 * @typedef {{joins: boolean, quoted: Message | null, replies: number | null, pinned: boolean}} Around
 */

/** @param {Timeline} timeline @param {Message} message @param {Around} around @returns {HTMLElement} */
export function messageRow(timeline, message, around) {
  const { joins, pinned } = around;
  const classes = [
    "message",
    joins ? "joins" : "",
    message.waiting ? "waiting" : "",
    pinned ? "pinned" : "",
  ].join(" ");
  const author = message.origin?.author ?? plainName(message.author);
  const head =
    !joins &&
    h(
      "div",
      { class: "message-head" },
      h("span", { class: "author" }, author),
      message.origin && h("span", { class: "pill" }, message.origin.platform),
      h(
        "time",
        { dateTime: message.at, title: format(message.at, { dateStyle: "full", timeStyle: "short" }) },
        clock(message.at),
      ),
      pinned && h("span", { class: "pill" }, "Pinned"),
    );
  return h(
    "article",
    {
      class: classes,
      testid: "message",
      data: { message: message.id },
      "aria-label": `${author}, ${clock(message.at)}`,
    },
    h(
      "div",
      { class: "message-side" },
      joins ? h("time", { class: "side-time" }, shortClock(message.at)) : avatar(author),
    ),
    h(
      "div",
      { class: "message-main" },
      quote(timeline, message, around),
      head,
      body(timeline, message),
      attachments(message),
      reactions(timeline, message),
      thread(timeline, message, around),
    ),
    !message.deleted && !message.waiting && tools(timeline, message, around),
  );
}

/** @param {Timeline} timeline @param {Message} message */
function body(timeline, message) {
  if (message.deleted)
    return h("div", { class: "content deleted", testid: "message-text" }, "This message was deleted.");
  if (timeline.editing === message.id) return editor(timeline, message);
  return h(
    "div",
    { class: "content", testid: "message-text" },
    renderContent(message.content, message.text ?? "", session.name),
    message.editedAt &&
      h(
        "span",
        { class: "edited", title: format(message.editedAt, { dateStyle: "medium", timeStyle: "short" }) },
        "(edited)",
      ),
  );
}

/** @param {Timeline} timeline @param {Message} message */
function editor(timeline, message) {
  const field = h("textarea", {
    class: "edit-field",
    testid: "edit-field",
    value: message.text ?? "",
    rows: 3,
    "aria-label": "Edit the message",
  });
  const save = () => {
    const text = field.value.trim();
    timeline.edit(null);
    if (text !== "" && text !== message.text) timeline.room.send({ type: "edit", message: message.id, text });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") timeline.edit(null);
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  queueMicrotask(() => {
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  });
  return h(
    "div",
    { class: "editor" },
    field,
    h(
      "div",
      { class: "buttons" },
      h("button", { class: "button quiet small", on: { click: () => timeline.edit(null) } }, "Cancel"),
      h("button", { class: "button small", testid: "edit-save", on: { click: save } }, "Save"),
    ),
  );
}

/** @param {Timeline} timeline @param {Message} message @param {Around} around */
function quote({ room }, { replyTo }, { quoted }) {
  if (!replyTo) return null;
  const words = quoted
    ? quoted.deleted
      ? "a deleted message"
      : plainText(quoted).slice(0, 120)
    : "an older message";
  return h(
    "button",
    { class: "quote-line", on: { click: () => room.jumpTo(replyTo) } },
    icon("reply"),
    quoted && h("b", {}, plainName(quoted.author)),
    h("span", {}, words),
  );
}

/** @param {Message} message */
function attachments({ attachments: files }) {
  if (files.length === 0) return null;
  return h(
    "ul",
    { class: "attachments" },
    files
      .filter(({ url }) => isSafeLink(url))
      .map((file) =>
        h(
          "li",
          {},
          h(
            "a",
            { href: file.url, target: "_blank", rel: "noopener noreferrer" },
            isOwnPicture(file)
              ? h("img", { class: "picture", src: file.url, alt: file.name, loading: "lazy" })
              : icon("file"),
            h("span", {}, file.name),
            file.size ? h("small", {}, bytes(file.size)) : null,
          ),
        ),
      ),
  );
}

/**
 * Pictures from elsewhere are not loaded unasked: that would tell others who reads.
 * @param {Message["attachments"][number]} file
 */
function isOwnPicture({ url, mediaType }) {
  return url.startsWith("/bridges/files/") && !!mediaType?.startsWith("image/");
}

/** @param {number} size */
function bytes(size) {
  return size < 1_000
    ? `${size} B`
    : size < 1e6
      ? `${Math.round(size / 1_000)} kB`
      : `${(size / 1e6).toFixed(1)} MB`;
}

/** @param {Timeline} timeline @param {Message} message */
function reactions({ room }, message) {
  const entries = Object.entries(message.reactions).filter(([, users]) => users.length > 0);
  if (entries.length === 0) return null;
  return h(
    "div",
    { class: "reactions" },
    entries.map(([emoji, users]) => {
      const mine = users.includes(session.name);
      const toggle = () => room.send({ type: mine ? "unreact" : "react", message: message.id, emoji });
      return h(
        "button",
        {
          class: "reaction",
          "aria-pressed": String(mine),
          title: users.map(plainName).join(", "),
          data: { emoji },
          testid: "reaction",
          on: { click: toggle },
        },
        emojiOf(emoji) ?? `:${emoji}:`,
        h("span", {}, users.length),
      );
    }),
  );
}

/** @param {Timeline} timeline @param {Message} message @param {Around} around */
function thread({ room, thread: inside }, { id }, { replies }) {
  if (!replies || inside !== null) return null;
  return h(
    "button",
    {
      class: "thread-link",
      testid: "thread-open",
      on: { click: () => room.openPanel({ kind: "thread", root: id }) },
    },
    icon("thread"),
    `${replies} ${replies === 1 ? "reply" : "replies"}`,
  );
}

/** @param {Timeline} timeline @param {Message} message @param {Around} around */
function tools(timeline, message, { pinned }) {
  const { room } = timeline;
  const mine = message.author === session.principal;
  const react = tool("smile", "Add a reaction", "reaction-add", () => pick(react, timeline, message));
  const more = tool("more", "More", "message-more", () =>
    openMenu(
      more,
      [
        {
          label: pinned ? "Unpin" : "Pin",
          testid: "pin",
          run: () => room.send({ type: pinned ? "unpin" : "pin", message: message.id }),
        },
        { label: "Copy the text", run: () => navigator.clipboard?.writeText(message.text ?? "") },
        mine && { label: "Edit", testid: "edit", run: () => timeline.edit(message.id) },
        (mine || room.isModerator) && {
          label: "Delete",
          testid: "delete",
          danger: true,
          run: () => remove(timeline, message),
        },
      ],
      "Message",
    ),
  );
  return h(
    "div",
    { class: "tools", role: "group", "aria-label": "Message" },
    react,
    tool("reply", "Reply", "reply", () => room.reply(message)),
    timeline.thread === null &&
      tool("thread", "Open a thread", "thread", () => room.openPanel({ kind: "thread", root: message.id })),
    mine && tool("edit", "Edit", "message-edit", () => timeline.edit(message.id)),
    more,
  );
}

/** @param {import("../../parts/icons.js").IconName} name @param {string} label @param {string} testid @param {() => void} run */
function tool(name, label, testid, run) {
  return h(
    "button",
    { class: "tool", "aria-label": label, title: label, testid, on: { click: run } },
    icon(name),
  );
}

/** @param {HTMLElement} anchor @param {Timeline} timeline @param {Message} message */
function pick(anchor, { room }, message) {
  const choose = (/** @type {string} */ emoji) => {
    closePopover();
    room.send({ type: "react", message: message.id, emoji });
  };
  const panel = h(
    "div",
    { class: "picker", role: "menu", "aria-label": "Reactions" },
    PICKER.map((emoji) =>
      h(
        "button",
        {
          role: "menuitem",
          testid: `react-${emoji}`,
          title: emoji,
          "aria-label": emoji.replaceAll("_", " "),
          on: { click: () => choose(emoji) },
        },
        emojiOf(emoji),
      ),
    ),
  );
  openPopover(anchor, panel);
  /** @type {HTMLElement | null} */ (panel.querySelector("button"))?.focus();
}

/** @param {Timeline} timeline @param {Message} message */
async function remove({ room }, message) {
  const words = (message.text ?? "").slice(0, 200);
  if (await confirmDanger("Delete the message?", words, "Delete"))
    room.send({ type: "delete", message: message.id });
}
