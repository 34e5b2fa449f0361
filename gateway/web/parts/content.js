// The unified message as DOM. Whatever is unknown is shown as its text.

import { h } from "../core/dom.js";
import { emojiOf } from "./emoji.js";

/** @typedef {import("../core/types.js").Node} ContentNode */

/** The deepest nesting that is drawn; the server allows as much. */
const DEEPEST = 32;
/** @type {Record<string, keyof HTMLElementTagNameMap>} */
const TAGS = {
  paragraph: "p",
  bold: "strong",
  italic: "em",
  underline: "u",
  strike: "s",
  quote: "blockquote",
  listItem: "li",
};

/**
 * @param {ContentNode[] | null} content
 * @param {string} text What to show where there is no tree yet.
 * @param {string} me Mentions of this user stand out.
 * @returns {Node[]}
 */
export function renderContent(content, text, me) {
  if (!content) return [h("p", { class: "plain" }, text)];
  return content.map((node) => render(node, me, 0));
}

/** @param {ContentNode} node @param {string} me @param {number} depth @returns {Node} */
function render(node, me, depth) {
  const children = () =>
    depth > DEEPEST ? [] : (node.children ?? []).map((child) => render(child, me, depth + 1));
  switch (node.type) {
    case "text":
      return document.createTextNode(node.text ?? "");
    case "lineBreak":
      return h("br");
    case "code":
      return h("code", {}, node.text ?? "");
    case "codeBlock":
      return h("pre", { data: { language: node.language ?? "" } }, h("code", {}, node.text ?? ""));
    case "heading":
      // Headings of a message stand below those of the page.
      return h(
        "p",
        { class: `heading level-${node.level ?? 1}`, role: "heading", "aria-level": "4" },
        children(),
      );
    case "list":
      return h(node.ordered ? "ol" : "ul", {}, children());
    case "link":
      return link(node.url ?? "", children());
    case "spoiler":
      return spoiler(children());
    case "mention":
      return h("span", { class: node.target === me ? "mention me" : "mention" }, `@${node.target ?? ""}`);
    case "broadcastMention":
      return h("span", { class: "mention me" }, `@${node.target ?? "here"}`);
    case "channelMention":
      return h("span", { class: "mention" }, `#${node.target ?? ""}`);
    case "emoji":
      return emoji(node);
    case "card":
      return h("blockquote", { class: "card" }, cardTitle(node), children());
    case "unsupported":
      return h("span", { class: "muted" }, node.text ?? "(something that cannot be shown)");
    default: {
      const tag = TAGS[node.type];
      return tag ? h(tag, {}, children()) : h("span", {}, node.text ?? "", children());
    }
  }
}

/** The title of a card, which may lead somewhere. @param {ContentNode} node @returns {Node[]} */
function cardTitle(node) {
  const title = node.text ?? node.url;
  if (!title) return [];
  const bold = h("strong", {}, title);
  return [h("p", {}, node.url ? link(node.url, [bold]) : bold)];
}

/**
 * A message in one line, without its markup.
 * @param {{text: string | null, content: ContentNode[] | null}} message
 * @returns {string}
 */
export function plainText({ text, content }) {
  if (!content) return text ?? "";
  const parts = content.map(function flat(/** @type {ContentNode} */ node) {
    const { type, target, children = [] } = node;
    if (type === "mention" || type === "broadcastMention") return `@${target}`;
    if (type === "emoji") return emojiOf(target ?? "") ?? `:${target}:`;
    /** @type {string} */
    const inside = children.map(flat).join("");
    return (node.text ?? "") + inside + (type === "lineBreak" || type === "listItem" ? " " : "");
  });
  return parts.join(" ").replace(/\s+/g, " ").trim();
}

/** @param {string} address */
export function isSafeLink(address) {
  try {
    return ["http:", "https:", "mailto:"].includes(new URL(address, location.href).protocol);
  } catch {
    return false;
  }
}

/** @param {string} url @param {Node[]} children */
function link(url, children) {
  if (!isSafeLink(url)) return h("span", {}, children.length > 0 ? children : url);
  const shown = children.length > 0 ? children : [document.createTextNode(url)];
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, shown);
}

/** @param {Node[]} children */
function spoiler(children) {
  const show = () => element.classList.add("open");
  const element = h(
    "span",
    {
      class: "spoiler",
      role: "button",
      tabIndex: 0,
      title: "Show",
      on: { click: show, keydown: (/** @type {KeyboardEvent} */ e) => e.key === "Enter" && show() },
    },
    children,
  );
  return element;
}

/** @param {ContentNode} node */
function emoji({ target = "", url }) {
  const known = emojiOf(target);
  if (known) return h("span", { class: "emoji", title: `:${target}:` }, known);
  if (url && isSafeLink(url)) return h("img", { class: "emoji", src: url, alt: `:${target}:` });
  return document.createTextNode(`:${target}:`);
}
