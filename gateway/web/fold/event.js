// An event's state from its changes, and what a command will probably change.

import { applyMember, fieldsOf } from "./shared.js";

/**
 * @typedef {import("../core/types.js").EventState} State
 * @typedef {import("../core/types.js").Participant} Participant
 * @typedef {import("../core/live.js").Fact} Fact
 */

/** @param {State} state @param {Fact} fact @returns {State} */
export function apply(state, fact) {
  const { type, data } = fact;
  switch (type) {
    case "eventUpdated": {
      const { waitlist, ...fields } = data.fields;
      return { ...state, ...fields, ...(waitlist === undefined ? {} : { waitlistEnabled: waitlist }) };
    }
    case "eventStatusChanged":
      return { ...state, status: data.to };
    case "participantInvited":
      return withParticipant(state, data.user, { role: data.role ?? "participant" });
    case "participantResponded":
      return responded(state, data);
    case "participantPromoted":
      return {
        ...withParticipant(state, data.user, { standing: "confirmed" }),
        waitlist: state.waitlist.filter((user) => user !== data.user),
      };
    case "participantCheckedIn":
      return withParticipant(state, data.user, { checkedIn: true });
    case "participantRoleSet":
      return withParticipant(state, data.user, { role: data.role });
    case "sessionAdded": {
      const { session: id, ...fields } = data;
      /** @type {any} */
      const session = { track: null, speakers: [], place: null, ...fields, id };
      return bySessionStart(state, [...state.sessions, session]);
    }
    case "sessionUpdated": {
      const { session: id, fields } = data;
      return bySessionStart(
        state,
        state.sessions.map((one) => (one.id === id ? { ...one, ...fields } : one)),
      );
    }
    case "sessionRemoved":
      return { ...state, sessions: state.sessions.filter((one) => one.id !== data.session) };
    case "remindersSet":
      return { ...state, reminders: data.before };
    case "reminderFired":
      return { ...state, reminders: fired(state, data.before) };
    default:
      return applyMember(state, fact) ?? state;
  }
}

/** @param {State} state @param {any} data @returns {State} */
function responded(state, { user, answer, standing, plusOnes = 0 }) {
  const others = state.waitlist.filter((other) => other !== user);
  const waits = standing === "waitlisted";
  return {
    ...withParticipant(state, user, { answer, standing, plusOnes }),
    // Who waits already keeps the place in the queue.
    waitlist: !waits ? others : state.waitlist.includes(user) ? state.waitlist : [...others, user],
  };
}

/** @param {State} state @param {string} before */
function fired(state, before) {
  return (state.reminders ?? []).map((one) =>
    (typeof one === "string" ? one : one.before) === before ? { before, fired: true } : one,
  );
}

/** @param {State} state @param {string} user @param {Partial<Participant>} fields @returns {State} */
function withParticipant(state, user, fields) {
  /** @type {Participant} */
  const known = state.participants[user] ?? {
    answer: null,
    standing: "invited",
    role: "participant",
    checkedIn: false,
    plusOnes: 0,
  };
  return { ...state, participants: { ...state.participants, [user]: { ...known, ...fields } } };
}

/** @param {State} state @param {import("../core/types.js").Session[]} sessions @returns {State} */
function bySessionStart(state, sessions) {
  const sorted = sessions.sort((a, b) => a.start.localeCompare(b.start) || a.id.localeCompare(b.id));
  return { ...state, sessions: sorted };
}

/** @param {State} state @returns {number} Places taken; the creator takes none. */
export function taken(state) {
  let places = 0;
  for (const [user, one] of Object.entries(state.participants)) {
    if (one.standing === "confirmed" && `user:${user}` !== state.createdBy) places += 1 + (one.plusOnes ?? 0);
  }
  return places;
}

/**
 * @param {State} state
 * @param {import("../core/types.js").Body} body
 * @param {string} me
 * @returns {{type: string, data: any}[]}
 */
export function predict(state, body, me) {
  const data = fieldsOf(body);
  switch (body.type) {
    case "updateEvent":
      return [{ type: "eventUpdated", data: { fields: data } }];
    case "setStatus":
      return [{ type: "eventStatusChanged", data: { from: state.status, to: body.status } }];
    case "invite":
      return state.participants[body.user] ? [] : [{ type: "participantInvited", data }];
    case "respond": {
      const user = body.user ?? me;
      return [
        {
          type: "participantResponded",
          data: { ...data, user, standing: standingOf(state, user, body.answer) },
        },
      ];
    }
    case "checkIn":
      return [{ type: "participantCheckedIn", data }];
    case "setRole":
      return [{ type: "participantRoleSet", data }];
    case "addSession":
      return body.session ? [{ type: "sessionAdded", data }] : [];
    case "removeSession":
      return [{ type: "sessionRemoved", data }];
    case "setReminders":
      return [{ type: "remindersSet", data }];
    default:
      return [];
  }
}

/** @param {State} state @param {string} user @param {string} answer */
function standingOf(state, user, answer) {
  if (answer === "no") return "declined";
  if (answer === "maybe") return "tentative";
  const known = state.participants[user]?.standing;
  if (known === "confirmed" || known === "waitlisted") return known;
  const isFull = state.capacity !== null && taken(state) >= state.capacity;
  return isFull ? "waitlisted" : "confirmed";
}
