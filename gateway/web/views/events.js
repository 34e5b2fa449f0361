// The list of events, as an agenda or as a month.

import { h, fill } from "../core/dom.js";
import { create, list, need } from "../core/http.js";
import { parseEntity } from "../core/ids.js";
import { go, hrefOf } from "../core/places.js";
import { clock, dayKey, dayName, format } from "../core/time.js";

import { icon } from "../parts/icons.js";
import { toast } from "../parts/toast.js";
import { monthGrid } from "./event/month.js";

/** How often the list is asked for again, in milliseconds. */
const AGAIN = 20_000;
/** Events whose times are asked for at once. */
const AT_ONCE = 6;

/** @typedef {{entity: string, title: string, start: string, end: string, status: string, place: string | null, going: number}} Entry */

/** What is known of events, by entity; good while the seq is the same. @type {Map<string, {seq: number, entry: Entry}>} */
const known = new Map();

export class EventList extends HTMLElement {
  #body = h("div", { class: "events-body" });
  #mode = localStorage.getItem("switchyard.events") === "month" ? "month" : "agenda";
  #month = new Date();
  /** @type {Entry[] | null} */
  #entries = null;
  #timer = 0;

  connectedCallback() {
    this.className = "page events";
    document.title = "Events · Switchyard";
    const title = h("input", {
      testid: "create-title",
      name: "title",
      required: true,
      maxLength: 200,
      placeholder: "Name a new event",
      "aria-label": "Name a new event",
      autocomplete: "off",
    });
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#create(title.value.trim());
    };
    fill(
      this,
      h("header", { class: "page-head" }, h("h1", {}, "Events"), this.#switch()),
      h(
        "form",
        { class: "create", on: { submit } },
        title,
        h("button", { class: "button", testid: "create-submit" }, icon("plus"), h("span", {}, "Create")),
      ),
      this.#body,
    );
    this.#timer = window.setInterval(() => document.visibilityState === "visible" && this.#load(), AGAIN);
    this.#load();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }

  #switch() {
    const modes = /** @type {const} */ ([
      ["agenda", "Agenda", "list"],
      ["month", "Month", "calendar"],
    ]);
    const buttons = modes.map(([mode, label, name]) => {
      const choose = () => {
        this.#mode = mode;
        localStorage.setItem("switchyard.events", mode);
        for (const one of buttons) one.setAttribute("aria-pressed", String(one === button));
        this.#render();
      };
      const button = h(
        "button",
        { "aria-pressed": String(this.#mode === mode), testid: `events-${mode}`, on: { click: choose } },
        icon(name),
        label,
      );
      return button;
    });
    return h("div", { class: "segments", role: "group", "aria-label": "How to show the events" }, buttons);
  }

  /** Creates with a time that is likely to be changed, or asks for one. @param {string} title */
  async #create(title) {
    const start = new Date(Date.now() + 86_400_000);
    start.setHours(10, 0, 0, 0);
    try {
      const made = await create("event", {
        title,
        start: start.toISOString(),
        end: new Date(start.getTime() + 3_600_000).toISOString(),
        timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC",
      });
      go(hrefOf(made.entity));
      toast("Created as a draft for tomorrow at ten. Set its time and place under Details.");
    } catch (error) {
      toast(/** @type {Error} */ (error).message, { tone: "bad" });
    }
  }

  async #load() {
    try {
      const { items } = await list("event", { limit: 200 });
      const wanted = items.filter((item) => known.get(item.entity)?.seq !== item.seq);
      while (wanted.length > 0)
        await Promise.all(wanted.splice(0, AT_ONCE).map((item) => learn(item.entity)));
      this.#entries = items
        .flatMap(({ entity }) => known.get(entity)?.entry ?? [])
        .sort((a, b) => a.start.localeCompare(b.start));
      this.#render();
    } catch (error) {
      if (!this.#entries) fill(this.#body, h("p", { class: "empty" }, /** @type {Error} */ (error).message));
    }
  }

  #render() {
    const entries = this.#entries;
    if (!entries) return;
    if (this.#mode === "month") {
      const turn = (/** @type {number} */ by) => {
        this.#month =
          by === 0 ? new Date() : new Date(this.#month.getFullYear(), this.#month.getMonth() + by, 1);
        this.#render();
      };
      fill(this.#body, monthGrid(this.#month, entries, turn));
    } else {
      this.#agenda(entries);
    }
  }

  /** @param {Entry[]} entries */
  #agenda(entries) {
    if (entries.length === 0)
      return fill(
        this.#body,
        h(
          "p",
          { class: "empty" },
          "No events yet. Name one above: it starts as a draft that only you see as one.",
        ),
      );
    const now = new Date().toISOString();
    const coming = entries.filter((one) => one.end >= now);
    const past = entries.filter((one) => one.end < now).reverse();
    fill(
      this.#body,
      days(coming),
      past.length > 0 &&
        h("details", { class: "past" }, h("summary", {}, `Past (${past.length})`), days(past)),
    );
  }
}

/** @param {Entry[]} entries */
function days(entries) {
  /** @type {Map<string, Entry[]>} */
  const byDay = new Map();
  for (const entry of entries) {
    const key = dayKey(entry.start);
    byDay.set(key, [...(byDay.get(key) ?? []), entry]);
  }
  return [...byDay.values()].map((group) =>
    h(
      "section",
      { class: "agenda-day" },
      h(
        "h2",
        {},
        h("span", { class: "agenda-number" }, format(group[0].start, { day: "numeric" })),
        h(
          "span",
          {},
          h("b", {}, dayName(group[0].start).split(",")[0]),
          h("small", {}, format(group[0].start, { month: "long", year: "numeric" })),
        ),
      ),
      h(
        "ul",
        { class: "items" },
        group.map((entry) =>
          h(
            "li",
            {},
            h(
              "a",
              {
                class: "item",
                href: hrefOf(entry.entity),
                testid: "list-item",
                data: { entity: entry.entity },
              },
              h("span", { class: "item-when" }, `${clock(entry.start)} – ${clock(entry.end)}`),
              h("span", { class: "item-title" }, entry.title, entry.place && h("small", {}, entry.place)),
              entry.going > 0 && h("span", { class: "item-time" }, `${entry.going} going`),
              h("span", { class: "badge", data: { state: entry.status } }, entry.status),
            ),
          ),
        ),
      ),
    ),
  );
}

/** @param {string} entity */
async function learn(entity) {
  const { id } = parseEntity(entity);
  const answer = await need(`/api/v1/events/${encodeURIComponent(id)}`).catch(() => null);
  if (!answer) return;
  /** @type {import("../core/types.js").EventState} */
  const state = answer.state;
  const going = Object.values(state.participants).filter((one) => one.standing === "confirmed").length;
  const { title, start, end, status, place = null } = state;
  known.set(entity, { seq: answer.seq, entry: { entity, title, start, end, status, place, going } });
}

customElements.define("sy-events", EventList);
