// What the views of one entity share: they follow it while they are shown, and say so when it
// cannot be shown.

import { h, fill } from "../core/dom.js";
import { markSeen, remember } from "../core/places.js";
import { store } from "../core/store.js";

export class EntityView extends HTMLElement {
  /** @type {import("../core/live.js").Live} */
  live;
  #off = new AbortController();
  #built = false;

  /** @param {string} entity */
  constructor(entity) {
    super();
    this.entity = entity;
    this.live = store.open(entity);
  }

  connectedCallback() {
    const { signal } = this.#off;
    this.live.addEventListener("update", () => this.#update(), { signal });
    this.live.addEventListener(
      "signal",
      (event) => this.signalled(/** @type {CustomEvent} */ (event).detail),
      { signal },
    );
    this.live.addEventListener("change", (event) => this.changed(/** @type {CustomEvent} */ (event).detail), {
      signal,
    });
    if (!this.live.state) fill(this, h("p", { class: "waiting" }, "Opening…"));
    this.#update();
  }

  disconnectedCallback() {
    this.#off.abort();
    this.gone();
    store.close(this.live);
  }

  /** Ends with the view. */
  get whileShown() {
    return this.#off.signal;
  }

  #update() {
    const { state, error, seq } = this.live;
    if (error && !state) return this.#refuse(error);
    if (!state) return;
    document.title = `${state.title} · Switchyard`;
    markSeen(this.entity, seq);
    if (!this.#built) {
      this.#built = true;
      remember({ entity: this.entity, title: state.title, seq });
      this.build(state);
    }
    this.update(state);
  }

  /** @param {{code: string, message: string}} error */
  #refuse({ code, message }) {
    const title = code === "not_found" ? "There is nothing here" : "This is not open to you";
    fill(
      this,
      h(
        "div",
        { class: "refused" },
        h("h1", {}, title),
        h("p", { class: "muted" }, message),
        h("a", { class: "button quiet", href: location.hash.replace(/\/[^/]*$/, "") }, "Back to the list"),
      ),
    );
  }

  /**
   * Sends a command.
   * @param {import("../core/types.js").Body} body
   * @param {{quiet?: boolean}} [options]
   */
  send(body, options) {
    return store.send(this.live, body, options);
  }

  /** Tells whoever is here something that is not kept. @param {string} kind @param {any} data */
  signal(kind, data) {
    store.socket.signal(this.entity, kind, data);
  }

  /** Makes the DOM, once. @param {any} _state */
  build(_state) {}
  /** Brings the DOM up to date. @param {any} _state */
  update(_state) {}
  /** @param {{signal: string, by: string, data: any}} _signal */
  signalled(_signal) {}
  /** @param {import("../core/types.js").Change} _change */
  changed(_change) {}
  /** Ends what the view began. */
  gone() {}
}
