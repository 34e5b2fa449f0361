// Names that are offered while one writes `@`.

import { h, fill } from "../../core/dom.js";
import { avatar } from "../../parts/avatar.js";

/** Names offered at once. */
const MOST = 6;

export class Mentions {
  element = h("div", { class: "mentions", role: "listbox", "aria-label": "People", hidden: true });
  /** @type {string[]} */
  #names = [];
  #chosen = 0;

  /** @param {HTMLTextAreaElement} field @param {() => string[]} people */
  constructor(field, people) {
    this.field = field;
    this.people = people;
    field.addEventListener("input", () => this.#offer());
    field.addEventListener("blur", () => window.setTimeout(() => this.#close(), 150));
  }

  /** @param {KeyboardEvent} event @returns {boolean} Whether the key was for this. */
  key(event) {
    if (this.element.hidden) return false;
    if (event.key === "ArrowDown") this.#choose(this.#chosen + 1);
    else if (event.key === "ArrowUp") this.#choose(this.#chosen - 1);
    else if (event.key === "Enter" || event.key === "Tab") this.#take(this.#names[this.#chosen]);
    else if (event.key === "Escape") this.#close();
    else return false;
    event.preventDefault();
    return true;
  }

  /** What stands between `@` and the caret, if that is where one is. */
  #begun() {
    const before = this.field.value.slice(0, this.field.selectionStart);
    return /(?:^|\s)@([A-Za-z0-9_.+-]*)$/.exec(before)?.[1] ?? null;
  }

  #offer() {
    const begun = this.#begun();
    if (begun === null) return this.#close();
    const wanted = begun.toLowerCase();
    this.#names = this.people()
      .filter((name) => name.toLowerCase().startsWith(wanted) && name !== begun)
      .slice(0, MOST);
    if (this.#names.length === 0) return this.#close();
    fill(
      this.element,
      ...this.#names.map((name) =>
        h(
          "div",
          {
            role: "option",
            class: "mention-option",
            on: {
              pointerdown: (/** @type {Event} */ e) => {
                e.preventDefault();
                this.#take(name);
              },
            },
          },
          avatar(name, "small"),
          name,
        ),
      ),
    );
    this.element.hidden = false;
    this.#choose(0);
  }

  /** @param {number} at */
  #choose(at) {
    this.#chosen = (at + this.#names.length) % this.#names.length;
    [...this.element.children].forEach((child, index) =>
      child.setAttribute("aria-selected", String(index === this.#chosen)),
    );
  }

  /** @param {string} name */
  #take(name) {
    const { field } = this;
    const caret = field.selectionStart;
    const start = caret - (this.#begun() ?? "").length;
    field.setRangeText(`${name} `, start, caret, "end");
    this.#close();
    field.dispatchEvent(new Event("input"));
    field.focus();
  }

  #close() {
    this.element.hidden = true;
  }
}
