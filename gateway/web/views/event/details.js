// The form for an event's own fields. Only what was changed is sent, so that two people who edit
// different fields do not undo each other.

import { fromInput, toInput } from "../../core/time.js";
import { ask } from "../../parts/dialog.js";

/**
 * @typedef {import("../../core/types.js").EventState} EventState
 * @typedef {import("../event.js").EventView} EventView
 */

/** @param {EventView} event @param {EventState} state */
export async function editDetails(event, state) {
  const answer = await ask({
    title: "Details",
    submit: "Save",
    submitTestid: "details-save",
    fields: [
      { name: "title", label: "Title", value: state.title, required: true },
      {
        name: "start",
        label: "Begins (your time)",
        type: "datetime-local",
        value: toInput(state.start),
        required: true,
        half: true,
      },
      {
        name: "end",
        label: "Ends (your time)",
        type: "datetime-local",
        value: toInput(state.end),
        required: true,
        half: true,
      },
      {
        name: "timeZone",
        label: "Time zone of the event",
        value: state.timeZone,
        required: true,
        half: true,
      },
      {
        name: "capacity",
        label: "Places",
        type: "number",
        value: state.capacity === null ? "" : String(state.capacity),
        hint: "Empty: no limit.",
        half: true,
        testid: "details-capacity",
      },
      { name: "place", label: "Where", value: state.place ?? "" },
      { name: "description", label: "Description", type: "textarea", value: state.description ?? "" },
    ],
  });
  if (!answer) return;
  const start = fromInput(answer.start) ?? state.start;
  const end = fromInput(answer.end) ?? state.end;
  /** @type {Record<string, any>} */
  const next = {
    title: answer.title,
    timeZone: answer.timeZone,
    capacity: answer.capacity === "" ? null : Number(answer.capacity),
    place: answer.place || null,
    description: answer.description || null,
  };
  // The inputs know no seconds.
  if (toInput(start) !== toInput(state.start)) next.start = start;
  if (toInput(end) !== toInput(state.end)) next.end = end;
  const now = /** @type {Record<string, any>} */ (state);
  const changed = Object.fromEntries(
    Object.entries(next).filter(([name, value]) => value !== (now[name] ?? null)),
  );
  if (Object.keys(changed).length > 0) event.send({ type: "updateEvent", ...changed });
}

/** @param {EventView} event @param {EventState} state */
export async function linkOther(event, state) {
  const answer = await ask({
    title: "Its board and room",
    submit: "Save",
    fields: [
      { name: "boardId", label: "Board", value: state.boardId ?? "", placeholder: "board:…" },
      { name: "roomId", label: "Room", value: state.roomId ?? "", placeholder: "room:…" },
    ],
  });
  if (!answer) return;
  const entity = (/** @type {string} */ text, /** @type {string} */ kind) =>
    text === "" ? null : text.includes(":") ? text : `${kind}:${text}`;
  event.send({
    type: "updateEvent",
    boardId: entity(answer.boardId, "board"),
    roomId: entity(answer.roomId, "room"),
  });
}
