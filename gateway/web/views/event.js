// An event: when and where, one's own answer, who comes, the schedule, reminders.

import { h, fill } from "../core/dom.js";
import { session } from "../core/session.js";
import { span } from "../core/time.js";
import { taken } from "../fold/event.js";
import { Presence } from "../parts/avatar.js";
import { icon } from "../parts/icons.js";
import { openMenu } from "../parts/menu.js";
import { EntityView } from "./entity.js";
import { editDetails, linkOther } from "./event/details.js";
import { participantsPart } from "./event/participants.js";
import { remindersPart, sessionsPart } from "./event/schedule.js";

/** @typedef {import("../core/types.js").EventState} EventState */

/** @type {Record<string, string[]>} Where an event can go from where it is. */
const STEPS = {
  draft: ["published", "cancelled"],
  published: ["ongoing", "postponed", "cancelled", "draft"],
  ongoing: ["completed", "cancelled"],
  postponed: ["published", "cancelled"],
  completed: [],
  cancelled: [],
};
/** @type {Record<string, string>} */
const VERBS = {
  published: "Publish",
  ongoing: "Start",
  completed: "Complete",
  cancelled: "Cancel the event",
  postponed: "Postpone",
  draft: "Back to draft",
};

/** @type {Record<string, string>} */
const STANDINGS = {
  confirmed: "You have a place.",
  waitlisted: "You are on the waitlist.",
  declined: "You do not come.",
  tentative: "You may come.",
  invited: "You are invited: please answer.",
};

export class EventView extends EntityView {
  #head = h("header", { class: "view-head" });
  #hero = h("section", { class: "event-hero" });
  #rsvp = h("section", { class: "rsvp", "aria-label": "Your answer" });
  #people = h("section", { class: "event-people" });
  #sessions = h("section", { class: "event-sessions" });
  #reminders = h("section", { class: "event-reminders" });
  #presence = new Presence();
  /** @type {EventState | null} */
  #drawn = null;

  /** @param {EventState} _state */
  build(_state) {
    this.className = "event";
    this.#presence.show(this.live);
    fill(
      this,
      this.#head,
      h(
        "div",
        { class: "event-body" },
        h("div", { class: "event-main" }, this.#hero, this.#sessions),
        h("div", { class: "event-side" }, this.#rsvp, this.#people, this.#reminders),
      ),
    );
  }

  /** @param {EventState} state */
  update(state) {
    const before = this.#drawn;
    this.#drawn = state;
    if (before === state) return;
    const active = document.activeElement;
    const testid = active instanceof HTMLElement && this.contains(active) ? active.dataset.testid : undefined;
    this.#showHead(state);
    this.#showHero(state);
    this.#showRsvp(state);
    if (
      before?.participants !== state.participants ||
      before.waitlist !== state.waitlist ||
      before.members !== state.members ||
      before.status !== state.status
    ) {
      participantsPart(this, this.#people, state);
    }
    if (before?.sessions !== state.sessions || before.members !== state.members)
      sessionsPart(this, this.#sessions, state);
    if (before?.reminders !== state.reminders || before?.members !== state.members)
      remindersPart(this, this.#reminders, state);
    if (testid && !active?.isConnected) {
      /** @type {HTMLElement | null} */ (this.querySelector(`[data-testid="${CSS.escape(testid)}"]`))?.focus({
        preventScroll: true,
      });
    }
  }

  /** @param {EventState} state */
  #showHead(state) {
    const more = h(
      "button",
      {
        class: "icon-button",
        "aria-label": "Event menu",
        title: "Event menu",
        testid: "event-menu",
        on: { click: () => this.#menu(more, state) },
      },
      icon("more"),
    );
    fill(
      this.#head,
      h("a", { class: "icon-button back", href: "#/events", "aria-label": "Events" }, icon("back")),
      h("div", { class: "view-title" }, h("h1", {}, state.title)),
      h("span", { class: "badge", testid: "event-status", data: { state: state.status } }, state.status),
      this.#presence,
      this.isOrganiser && more,
    );
  }

  /** @param {EventState} state */
  #showHero(state) {
    const { start, end, timeZone, place, description, capacity } = state;
    const local = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const used = taken(state);
    const other = (/** @type {string | null | undefined} */ id, /** @type {"board" | "room"} */ kind) =>
      id &&
      h(
        "a",
        { class: "button quiet small", href: `#/${kind}s/${encodeURIComponent(id.replace(/^\w+:/, ""))}` },
        icon(kind),
        kind === "board" ? "Its board" : "Its room",
      );
    const next = STEPS[state.status]?.[0];
    fill(
      this.#hero,
      h(
        "dl",
        { class: "event-facts" },
        fact(
          "clock",
          "When",
          span(start, end, timeZone),
          timeZone === local ? null : `${timeZone}; for you ${span(start, end)}`,
        ),
        place && fact("place", "Where", place, null),
        fact(
          "people",
          "Places",
          capacity === null ? `${used} going, no limit` : `${used} of ${capacity} taken`,
          state.waitlist.length > 0 ? `${state.waitlist.length} waiting` : null,
        ),
      ),
      capacity !== null &&
        h("div", {
          class: "meter",
          role: "img",
          "aria-label": `${used} of ${capacity} places taken`,
          style: { "--share": String(Math.min(1, used / Math.max(1, capacity))) },
        }),
      description && h("p", { class: "event-description" }, description),
      h(
        "div",
        { class: "buttons start" },
        this.isOrganiser &&
          next &&
          h(
            "button",
            {
              class: "button",
              testid: `status-${next}`,
              on: { click: () => this.send({ type: "setStatus", status: next }) },
            },
            VERBS[next],
          ),
        this.isOrganiser &&
          h(
            "button",
            { class: "button quiet", testid: "event-edit", on: { click: () => editDetails(this, state) } },
            icon("edit"),
            "Details",
          ),
        other(state.boardId, "board"),
        other(state.roomId, "room"),
      ),
    );
  }

  /** @param {EventState} state */
  #showRsvp(state) {
    const mine = state.participants[session.name];
    const answers = /** @type {const} */ ([
      ["yes", "Yes"],
      ["maybe", "Maybe"],
      ["no", "No"],
    ]);
    const place = state.waitlist.indexOf(session.name) + 1;
    const words =
      place > 0
        ? `You are on the waitlist, ${place === 1 ? "first" : `number ${place}`}.`
        : mine
          ? STANDINGS[mine.standing]
          : this.#invitation(state);
    const open = state.status === "published" || state.status === "ongoing";
    fill(
      this.#rsvp,
      h("h2", {}, "Do you come?"),
      h(
        "div",
        { class: "segments wide", role: "group", "aria-label": "Your answer" },
        answers.map(([answer, label]) =>
          h(
            "button",
            {
              testid: `rsvp-${answer}`,
              "aria-pressed": String(mine?.answer === answer),
              on: { click: () => this.send({ type: "respond", answer }) },
            },
            label,
          ),
        ),
      ),
      h(
        "p",
        {
          class: "standing",
          testid: "standing",
          "aria-live": "polite",
          data: { standing: mine?.standing ?? "none" },
        },
        words,
        mine?.checkedIn && " You are checked in.",
      ),
      !open &&
        h(
          "p",
          { class: "muted" },
          state.status === "draft"
            ? "A draft: answers are taken once it is published."
            : `The event is ${state.status}.`,
        ),
    );
  }

  /** @param {EventState} state */
  #invitation(state) {
    if (state.createdBy === session.principal) return "You organise this: you take no place.";
    return state.capacity !== null && taken(state) >= state.capacity
      ? "All places are taken: a yes puts you on the waitlist."
      : "You have not answered.";
  }

  /** @param {HTMLElement} anchor @param {EventState} state */
  #menu(anchor, state) {
    const steps = STEPS[state.status] ?? [];
    openMenu(
      anchor,
      [
        ...steps.map((status) => ({
          label: VERBS[status],
          testid: `menu-status-${status}`,
          danger: status === "cancelled",
          run: () => {
            this.send({ type: "setStatus", status });
          },
        })),
        steps.length > 0 && "line",
        { label: "Details", run: () => editDetails(this, state) },
        { label: "Its board and room", run: () => linkOther(this, state) },
      ],
      "Event",
    );
  }

  /** Whether this person may change the event. */
  get isOrganiser() {
    const state = /** @type {EventState} */ (this.live.state);
    if (session.isAdmin) return true;
    const role = state.members[session.name] ?? state.tenantRole;
    const part = state.participants[session.name]?.role;
    return role === "owner" || role === "editor" || part === "organiser" || part === "coOrganiser";
  }
}

/** @param {import("../parts/icons.js").IconName} name @param {string} label @param {string} value @param {string | null} extra */
function fact(name, label, value, extra) {
  return h(
    "div",
    {},
    h("dt", {}, icon(name), h("span", { class: "unseen" }, label)),
    h("dd", {}, value, extra && h("small", {}, extra)),
  );
}

customElements.define("sy-event", EventView);
