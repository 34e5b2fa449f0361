// How the program is, from GET /health: whatever services it lists.

import { h, fill } from "../core/dom.js";
import { call } from "../core/http.js";
import { clock } from "../core/time.js";

/** How often it is asked, in milliseconds. */
const AGAIN = 10_000;

export class StatusView extends HTMLElement {
  #timer = 0;

  connectedCallback() {
    this.className = "page status";
    document.title = "Status · Switchyard";
    fill(
      this,
      h("header", { class: "page-head" }, h("h1", {}, "Status")),
      h("p", { class: "muted" }, "Asking…"),
    );
    this.#load();
    this.#timer = window.setInterval(() => document.visibilityState === "visible" && this.#load(), AGAIN);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  async #load() {
    try {
      const { body } = await call("/health");
      if (!body) throw new Error("The server gave no account of itself.");
      this.#render(body);
    } catch (error) {
      this.#render({ status: "unreachable", services: {}, reason: /** @type {Error} */ (error).message });
    }
  }

  /** @param {any} health */
  #render({ status = "unknown", services = {}, ...rest }) {
    const named = Array.isArray(services) ? services.map((one) => [one.name, one]) : Object.entries(services);
    const open = new Set(
      [...this.querySelectorAll("details[open]")].map((one) => /** @type {HTMLElement} */ (one).dataset.name),
    );
    const rows = named.map(([name, service]) => row(name, service));
    const lists = named.flatMap(([name, service]) =>
      Object.entries(service)
        .filter(([, value]) => isTable(value))
        .map(([field, value]) => table(`${words(name)}: ${field}`, value, open)),
    );
    fill(
      this,
      h(
        "header",
        { class: "page-head" },
        h("h1", {}, "Status"),
        badge(status),
        h("span", { class: "muted spread" }, `Asked at ${clock(new Date().toISOString())}`),
      ),
      h(
        "dl",
        { class: "facts" },
        Object.entries(rest).map(([name, value]) =>
          h("div", {}, h("dt", {}, words(name)), h("dd", {}, plain(value))),
        ),
      ),
      rows.length > 0 &&
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
                ["Service", "State", "Latency", "Lag", ""].map((title) => h("th", { scope: "col" }, title)),
              ),
            ),
            h("tbody", {}, rows),
          ),
        ),
      ...lists,
    );
  }
}

/** @param {string} name @param {any} service */
function row(name, service) {
  const { state, status, latencyMs, latency, lag, ...rest } = service;
  const others = Object.entries(rest).filter(([, value]) => !isTable(value));
  const milliseconds = latencyMs ?? latency;
  return h(
    "tr",
    { data: { service: name } },
    h("th", { scope: "row" }, words(name)),
    h("td", {}, badge(state ?? status ?? "unknown")),
    h(
      "td",
      { class: "number" },
      typeof milliseconds === "number"
        ? `${milliseconds.toFixed(milliseconds < 10 ? 2 : 0)} ms`
        : plain(milliseconds ?? "–"),
    ),
    h("td", { class: "number" }, plain(lag ?? "–")),
    h("td", { class: "muted" }, others.map(([key, value]) => `${words(key)}: ${plain(value)}`).join(", ")),
  );
}

/** @param {any} value */
function isTable(value) {
  return Array.isArray(value) && value.length > 0 && typeof value[0] === "object";
}

/** @param {string} title @param {any} rows @param {Set<string | undefined>} open */
function table(title, rows, open) {
  const names = Object.keys(rows[0]);
  return h(
    "details",
    { data: { name: title }, open: open.has(title) },
    h("summary", {}, `${title} (${rows.length})`),
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
            names.map((name) => h("th", { scope: "col" }, words(name))),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((/** @type {any} */ one) =>
            h(
              "tr",
              {},
              names.map((name) => h("td", {}, plain(one[name]))),
            ),
          ),
        ),
      ),
    ),
  );
}

/** @param {string} state */
function badge(state) {
  return h("span", { class: "badge", data: { state } }, state);
}

/** @param {any} value */
function plain(value) {
  if (value === true) return "yes";
  if (value === false) return "no";
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "–");
}

/** `fanOut` → `Fan out`. @param {string} name */
function words(name) {
  const spaced = name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

customElements.define("sy-status", StatusView);
