// The sessions of an event and its reminders.

import { h, fill } from "../../core/dom.js";
import { itemId } from "../../core/ids.js";
import { clock, day, duration, fromInput, toInput } from "../../core/time.js";
import { ask } from "../../parts/dialog.js";
import { icon } from "../../parts/icons.js";

/**
 * @typedef {import("../../core/types.js").EventState} EventState
 * @typedef {import("../../core/types.js").Session} Session
 * @typedef {import("../event.js").EventView} EventView
 */

/** @param {EventView} event @param {HTMLElement} part @param {EventState} state */
export function sessionsPart(event, part, state) {
  /** @type {Map<string, Session[]>} */
  const days = new Map();
  for (const one of state.sessions) {
    const key = day(one.start, state.timeZone);
    days.set(key, [...(days.get(key) ?? []), one]);
  }
  fill(
    part,
    h(
      "header",
      { class: "part-head" },
      h("h2", {}, "Schedule"),
      event.isOrganiser &&
        h(
          "button",
          {
            class: "button quiet small",
            testid: "session-add",
            on: { click: () => addSession(event, state) },
          },
          icon("plus"),
          "Add a session",
        ),
    ),
    days.size === 0 && h("p", { class: "muted" }, "No sessions yet."),
    ...[...days].map(([title, sessions]) =>
      h(
        "section",
        {},
        days.size > 1 && h("h3", {}, title),
        h(
          "ol",
          { class: "sessions" },
          sessions.map((one) => row(event, state, one)),
        ),
      ),
    ),
  );
}

/** @param {EventView} event @param {EventState} state @param {Session} one */
function row(event, { timeZone }, one) {
  return h(
    "li",
    { class: "session", testid: "session", data: { session: one.id } },
    h(
      "div",
      { class: "session-time" },
      h("b", {}, clock(one.start, timeZone)),
      h("span", {}, clock(one.end, timeZone)),
    ),
    h(
      "div",
      { class: "session-main" },
      h("b", {}, one.title),
      h(
        "div",
        { class: "muted" },
        [one.track, one.place, one.speakers.join(", ")].filter(Boolean).join(" · "),
      ),
    ),
    event.isOrganiser &&
      h(
        "button",
        {
          class: "icon-button small",
          "aria-label": `Remove ${one.title}`,
          title: "Remove",
          on: { click: () => event.send({ type: "removeSession", session: one.id }) },
        },
        icon("close"),
      ),
  );
}

/** @param {EventView} event @param {EventState} state */
async function addSession(event, state) {
  const start = state.sessions.at(-1)?.end ?? state.start;
  const end = new Date(new Date(start).getTime() + 45 * 60_000);
  const answer = await ask({
    title: "Add a session",
    submit: "Add",
    submitTestid: "session-submit",
    fields: [
      { name: "title", label: "Title", required: true, testid: "session-title" },
      {
        name: "start",
        label: "Begins (your time)",
        type: "datetime-local",
        value: toInput(start),
        required: true,
        half: true,
      },
      {
        name: "end",
        label: "Ends (your time)",
        type: "datetime-local",
        value: toInput(end),
        required: true,
        half: true,
      },
      { name: "track", label: "Track", half: true },
      { name: "place", label: "Where", half: true },
      { name: "speakers", label: "Speakers", hint: "Separated by commas." },
    ],
  });
  if (!answer) return;
  const speakers = answer.speakers
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);
  event.send({
    type: "addSession",
    session: itemId(),
    title: answer.title,
    start: fromInput(answer.start) ?? start,
    end: fromInput(answer.end) ?? end.toISOString(),
    ...(answer.track ? { track: answer.track } : {}),
    ...(answer.place ? { place: answer.place } : {}),
    ...(speakers.length > 0 ? { speakers } : {}),
  });
}

/** @type {[string, string][]} */
const CHOICES = [
  ["PT15M", "15 minutes"],
  ["PT1H", "1 hour"],
  ["PT3H", "3 hours"],
  ["P1D", "1 day"],
  ["P2D", "2 days"],
  ["P7D", "7 days"],
];

/** @param {EventView} event @param {HTMLElement} part @param {EventState} state */
export function remindersPart(event, part, state) {
  const reminders = (state.reminders ?? []).map((one) =>
    typeof one === "string" ? { before: one, fired: false } : one,
  );
  const set = reminders.map((one) => one.before);
  const write = (/** @type {string[]} */ before) => event.send({ type: "setReminders", before });
  const choice = h(
    "select",
    {
      "aria-label": "Add a reminder",
      testid: "reminder-add",
      on: { change: () => choice.value && write([...set, choice.value]) },
    },
    h("option", { value: "" }, "Add a reminder"),
    CHOICES.filter(([value]) => !set.includes(value)).map(([value, label]) =>
      h("option", { value }, `${label} before`),
    ),
  );
  fill(
    part,
    h("header", { class: "part-head" }, h("h2", {}, "Reminders")),
    h(
      "div",
      { class: "chips" },
      reminders.map(({ before, fired }) =>
        h(
          "span",
          { class: "removable pill" },
          icon("bell"),
          `${duration(before)} before`,
          fired && " (sent)",
          event.isOrganiser &&
            h(
              "button",
              {
                "aria-label": "Remove the reminder",
                on: { click: () => write(set.filter((one) => one !== before)) },
              },
              "×",
            ),
        ),
      ),
    ),
    reminders.length === 0 &&
      h("p", { class: "muted" }, "None. Each is sent once, to participants and linked rooms."),
    event.isOrganiser && choice,
  );
}
