// The list of rooms or of boards: search, create, open.

import { h, fill, debounce } from "../core/dom.js";
import { create, list } from "../core/http.js";
import { ago } from "../core/time.js";
import { go, hrefOf, seenSeq } from "../core/places.js";
import { icon } from "../parts/icons.js";
import { toast } from "../parts/toast.js";

/** How often a visible list is asked for again, in milliseconds. */
const AGAIN = 15_000;

const WORDS = {
  room: {
    title: "Rooms",
    one: "room",
    placeholder: "Name a new room",
    empty: "No rooms yet. Name one above, then invite a colleague into it.",
  },
  board: {
    title: "Boards",
    one: "board",
    placeholder: "Name a new board",
    empty: "No boards yet. A new one starts with To Do, In Progress, Review and Done.",
  },
};

export class ListView extends HTMLElement {
  #items = h("ul", { class: "items" });
  #more = h("button", { class: "button quiet", hidden: true }, "More");
  #search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter", class: "filter" });
  /** @type {import("../core/types.js").ListItem[]} */
  #loaded = [];
  /** @type {string | null} */
  #cursor = null;
  #timer = 0;

  /** @param {"room" | "board"} kind */
  constructor(kind) {
    super();
    this.kind = kind;
  }

  connectedCallback() {
    this.className = "page";
    const words = WORDS[this.kind];
    document.title = `${words.title} · Switchyard`;
    const title = h("input", {
      testid: "create-title",
      name: "title",
      required: true,
      maxLength: 200,
      placeholder: words.placeholder,
      "aria-label": words.placeholder,
      autocomplete: "off",
    });
    const button = h(
      "button",
      { class: "button", testid: "create-submit" },
      icon("plus"),
      h("span", {}, "Create"),
    );
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        const made = await create(this.kind, { title: title.value.trim() });
        go(hrefOf(made.entity));
      } catch (error) {
        toast(/** @type {Error} */ (error).message, { tone: "bad" });
      }
      button.disabled = false;
    };
    fill(
      this,
      h("header", { class: "page-head" }, h("h1", {}, words.title), this.#search),
      h("form", { class: "create", on: { submit } }, title, button),
      this.#items,
      this.#more,
    );
    this.#search.addEventListener(
      "input",
      debounce(() => this.#load(), 200),
    );
    this.#more.addEventListener("click", () => this.#load(this.#cursor));
    this.#timer = window.setInterval(() => document.visibilityState === "visible" && this.#refresh(), AGAIN);
    this.#load();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  /** @param {string | null} [cursor] */
  async #load(cursor = null) {
    try {
      const page = await list(this.kind, { q: this.#search.value.trim(), cursor });
      this.#loaded = cursor ? [...this.#loaded, ...page.items] : page.items;
      this.#cursor = page.cursor;
      this.#render();
    } catch (error) {
      if (this.#loaded.length === 0)
        fill(this.#items, h("li", { class: "empty" }, /** @type {Error} */ (error).message));
    }
  }

  /** Only while one page is shown: more would jump back. */
  #refresh() {
    if (this.#loaded.length <= 100) this.#load();
  }

  #render() {
    this.#more.hidden = this.#cursor === null;
    const sorted = [...this.#loaded].sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
    fill(this.#items, ...sorted.map((item) => this.#item(item)));
    if (sorted.length === 0) {
      const words = this.#search.value ? "Nothing has that name." : WORDS[this.kind].empty;
      fill(this.#items, h("li", { class: "empty" }, words));
    }
  }

  /** @param {import("../core/types.js").ListItem} item */
  #item({ entity, title, seq, updatedAt }) {
    const seen = seenSeq(entity);
    const isNew = seen > 0 && seq > seen;
    return h(
      "li",
      {},
      h(
        "a",
        { class: "item", href: hrefOf(entity), testid: "list-item", data: { entity } },
        h("span", { class: "item-icon" }, icon(this.kind)),
        h("span", { class: "item-title" }, title),
        isNew && h("span", { class: "pill accent" }, "New"),
        h("span", { class: "item-time", title: updatedAt }, ago(updatedAt)),
      ),
    );
  }
}

customElements.define("sy-list", ListView);
