// Who users of chat platforms are here: list, add, remove. For admins.

import { h, fill } from "../core/dom.js";
import { need } from "../core/http.js";
import { icon } from "../parts/icons.js";
import { toast } from "../parts/toast.js";

const PATH = "/api/v1/bridges/identities";
/** Platforms by the name that the server gives them. */
const PLATFORMS = { slack: "Slack", teams: "Microsoft Teams", discord: "Discord", telegram: "Telegram" };

/** @typedef {{platform: keyof typeof PLATFORMS, user: string, name: string, source: string}} Identity */

export class IdentitiesView extends HTMLElement {
  #rows = h("tbody", {});
  #note = h("p", { class: "muted" }, "Asking…");

  connectedCallback() {
    this.className = "page";
    document.title = "Identities · Switchyard";
    const platform = h(
      "select",
      { testid: "identity-platform", "aria-label": "Platform" },
      Object.entries(PLATFORMS).map(([value, words]) => h("option", { value }, words)),
    );
    const user = field("identity-user", "Their id there");
    const name = field("identity-name", "Their name here");
    const button = h(
      "button",
      { class: "button", testid: "identity-submit" },
      icon("plus"),
      h("span", {}, "Set"),
    );
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      button.disabled = true;
      const body = { name: name.value.trim() };
      if (await this.#change(pathOf(platform.value, user.value.trim()), { method: "PUT", body })) {
        user.value = "";
        name.value = "";
        user.focus();
      }
      button.disabled = false;
    };
    const titles = ["Platform", "Id there", "Name here", "From", ""];
    fill(
      this,
      h("header", { class: "page-head" }, h("h1", {}, "Identities")),
      h(
        "p",
        { class: "muted" },
        "Whoever has an identity can be mentioned across: @ada here is her own mention on the platform.",
      ),
      h("form", { class: "create identity-form", on: { submit } }, platform, user, name, button),
      this.#note,
      h(
        "div",
        { class: "scroll-x" },
        h(
          "table",
          { class: "table" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              titles.map((title) => h("th", { scope: "col" }, title)),
            ),
          ),
          this.#rows,
        ),
      ),
    );
    this.#load();
  }

  async #load() {
    try {
      /** @type {{identities: Identity[]}} */
      const { identities } = await need(PATH);
      fill(this.#rows, ...identities.map((identity) => this.#row(identity)));
      this.#note.textContent = "Nobody of the platforms is known here yet.";
      this.#note.hidden = identities.length > 0;
    } catch (error) {
      this.#note.textContent = /** @type {Error} */ (error).message;
      this.#note.hidden = false;
    }
  }

  /** @param {string} path @param {Parameters<typeof need>[1]} request @returns {Promise<boolean>} Whether it was done. */
  async #change(path, request) {
    try {
      await need(path, request);
    } catch (error) {
      toast(/** @type {Error} */ (error).message, { tone: "bad" });
      return false;
    }
    await this.#load();
    return true;
  }

  /** @param {Identity} identity */
  #row({ platform, user, name, source }) {
    const remove = () => this.#change(pathOf(platform, user), { method: "DELETE" });
    const label = `Remove ${name} of ${PLATFORMS[platform]}`;
    return h(
      "tr",
      { testid: "identity", data: { platform, user } },
      h("td", {}, PLATFORMS[platform]),
      h("td", {}, user),
      h("td", {}, name),
      h("td", { class: "muted" }, source === "set" ? "set" : "the configuration"),
      h(
        "td",
        {},
        h(
          "button",
          {
            class: "icon-button",
            testid: "identity-remove",
            title: label,
            "aria-label": label,
            on: { click: remove },
          },
          icon("trash"),
        ),
      ),
    );
  }
}

/** @param {string} testid @param {string} words */
function field(testid, words) {
  return h("input", { testid, required: true, placeholder: words, "aria-label": words, autocomplete: "off" });
}

/** @param {string} platform @param {string} user */
function pathOf(platform, user) {
  return `${PATH}/${platform}/${encodeURIComponent(user)}`;
}

customElements.define("sy-identities", IdentitiesView);
