// People as coloured initials, alone or in a row of those who are here.

import { h, fill } from "../core/dom.js";
import { plainName } from "../core/ids.js";

/** @param {string} name @returns {number} A hue that is always the same for a name. */
export function hue(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 3_600;
  return (hash * 47) % 360;
}

/** @param {string} who A plain name or a principal. @param {string} [extra] A class. */
export function avatar(who, extra = "") {
  const name = plainName(who);
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const initials = words.length > 1 ? words[0][0] + words[1][0] : name.slice(0, 2);
  return h(
    "span",
    { class: `avatar ${extra}`, title: name, style: { "--hue": String(hue(name)) }, "aria-hidden": "true" },
    initials.toUpperCase(),
  );
}

/** The most avatars in a row. */
const MOST = 5;

/** Who is at an entity. Keeps itself up to date while it is in the document. */
export class Presence extends HTMLElement {
  /** @type {import("../core/live.js").Live | null} */
  #live = null;
  #update = () => this.#render();

  /** @param {import("../core/live.js").Live} live */
  show(live) {
    this.#live = live;
    this.dataset.testid = "presence";
    this.setAttribute("role", "group");
    live.addEventListener("presence", this.#update);
    this.#render();
  }

  disconnectedCallback() {
    this.#live?.removeEventListener("presence", this.#update);
  }

  #render() {
    const live = this.#live;
    if (!live) return;
    const names = [...live.present].sort();
    this.setAttribute("aria-label", `Here now: ${names.join(", ") || "nobody"}`);
    const shown = names.slice(0, MOST).map((name) => {
      const one = avatar(name);
      const status = live.statuses.get(name);
      one.dataset.user = name;
      one.dataset.status = status?.status ?? "online";
      one.title = status?.text ? `${name}: ${status.text}` : name;
      return one;
    });
    // Those beyond the row are there for machines and readers, not for the eye.
    const rest = names.slice(MOST).map((name) => h("span", { class: "unseen", data: { user: name } }, name));
    const more = rest.length > 0 && h("span", { class: "avatar more" }, `+${rest.length}`);
    fill(this, ...shown, more, ...rest);
  }
}

customElements.define("sy-presence", Presence);
