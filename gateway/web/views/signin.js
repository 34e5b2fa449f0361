// The door: a name where the server lets people in by name, else a token.

import { h, fill } from "../core/dom.js";
import { session } from "../core/session.js";
import { mark } from "../parts/icons.js";

export class SignIn extends HTMLElement {
  connectedCallback() {
    this.className = "signin";
    this.#byName();
  }

  #byName() {
    const problem = h("p", { class: "problem", role: "alert" });
    const name = h("input", {
      name: "name",
      testid: "signin-name",
      required: true,
      autocomplete: "username",
      autocapitalize: "none",
      spellcheck: false,
      maxLength: 64,
      pattern: "[A-Za-z0-9_.@+\\-]+",
      title: "Letters, digits and _ . @ + -",
      placeholder: "ada",
    });
    const button = h("button", { class: "button", testid: "signin-submit" }, "Sign in");
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      button.disabled = true;
      const outcome = await session.signInByName(name.value.trim());
      button.disabled = false;
      if (outcome === "unsupported")
        this.#byToken("This server does not sign people in by name. Paste a token instead.");
      else if (outcome !== "ok") problem.textContent = outcome;
    };
    const form = h(
      "form",
      { class: "form", on: { submit } },
      h("label", { class: "field" }, h("span", {}, "Your name"), name),
      problem,
      button,
    );
    const other = h(
      "button",
      { class: "link", type: "button", on: { click: () => this.#byToken("") } },
      "Use a token instead",
    );
    this.#frame(
      "Boards, events and rooms, all live. Open a second window under another name and watch.",
      form,
      other,
    );
    name.focus();
  }

  /** @param {string} why */
  #byToken(why) {
    const token = h("textarea", {
      name: "token",
      testid: "signin-token",
      required: true,
      rows: 4,
      spellcheck: false,
      placeholder: "eyJ…",
    });
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      session.signIn(token.value);
    };
    const form = h(
      "form",
      { class: "form", on: { submit } },
      h(
        "label",
        { class: "field" },
        h("span", {}, "Token"),
        token,
        h("small", {}, "One is made by: switchyard token --sub ada"),
      ),
      h("button", { class: "button", testid: "signin-token-submit" }, "Sign in"),
    );
    const other = h(
      "button",
      { class: "link", type: "button", on: { click: () => this.#byName() } },
      "Sign in by name",
    );
    this.#frame(why || "Paste the token that you were given.", form, other);
    token.focus();
  }

  /** @param {string} words @param {...Node} content */
  #frame(words, ...content) {
    fill(
      this,
      h(
        "main",
        { class: "signin-card" },
        h("div", { class: "brand large" }, mark(), h("h1", {}, "Switchyard")),
        h("p", { class: "muted" }, words),
        ...content,
      ),
    );
  }
}

customElements.define("sy-signin", SignIn);
