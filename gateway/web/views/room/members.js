// Members of a room with their roles, and the room's own settings.

import { h, fill } from "../../core/dom.js";
import { session } from "../../core/session.js";
import { avatar } from "../../parts/avatar.js";
import { ask, confirmDanger } from "../../parts/dialog.js";
import { icon } from "../../parts/icons.js";
import { openMenu } from "../../parts/menu.js";
import { panelHead } from "./panels.js";

/**
 * @typedef {import("../../core/types.js").RoomState} RoomState
 * @typedef {import("../room.js").RoomView} RoomView
 */

/** @type {[string, string][]} */
const ROLES = [
  ["owner", "Owner"],
  ["admin", "Admin"],
  ["moderator", "Moderator"],
  ["member", "Member"],
  ["guest", "Guest"],
  ["readOnly", "Read only"],
];
const RANK = ROLES.map(([role]) => role);
/** @type {[string, string][]} */
const SLOW = [
  ["0", "Off"],
  ["5", "5 seconds"],
  ["10", "10 seconds"],
  ["30", "30 seconds"],
  ["60", "1 minute"],
  ["300", "5 minutes"],
];

/** @param {RoomView} room @param {HTMLElement} side @param {RoomState} state @param {() => void} close */
export function membersPanel(room, side, state, close) {
  const names = Object.keys(state.members).sort(
    (a, b) => RANK.indexOf(state.members[a]) - RANK.indexOf(state.members[b]) || a.localeCompare(b),
  );
  const visitors = [...room.live.present].filter((name) => !(name in state.members)).sort();
  const mayAdmit = room.role === "owner" || room.role === "admin";
  fill(
    side,
    panelHead("Members", close),
    h(
      "div",
      { class: "panel-body" },
      h(
        "ul",
        { class: "people" },
        names.map((name) => person(room, state, name)),
      ),
      visitors.length > 0 && [
        h("h3", {}, "Also here"),
        h(
          "ul",
          { class: "people" },
          visitors.map((name) => person(room, state, name)),
        ),
      ],
      (state.requests ?? []).length > 0 && [
        h("h3", {}, "Ask to join"),
        h(
          "ul",
          { class: "people" },
          (state.requests ?? []).map((name) =>
            h(
              "li",
              {},
              avatar(name),
              h("span", { class: "person-name" }, name),
              mayAdmit &&
                h(
                  "button",
                  {
                    class: "button small",
                    on: { click: () => room.send({ type: "setMember", user: name, role: "member" }) },
                  },
                  "Admit",
                ),
            ),
          ),
        ),
      ],
      h(
        "div",
        { class: "buttons start" },
        mayAdmit &&
          h(
            "button",
            { class: "button quiet small", testid: "member-add", on: { click: () => add(room) } },
            icon("plus"),
            "Add a member",
          ),
        session.name in state.members
          ? h("button", { class: "button quiet small", on: { click: () => leave(room) } }, "Leave the room")
          : h(
              "button",
              {
                class: "button quiet small",
                testid: "room-join",
                on: { click: () => room.send({ type: "join" }) },
              },
              state.access === "request" ? "Ask to join" : "Join the room",
            ),
      ),
      state.banned.length > 0 && [
        h("h3", {}, "Banned"),
        h(
          "ul",
          { class: "people" },
          state.banned.map((name) =>
            h(
              "li",
              {},
              avatar(name),
              h("span", { class: "person-name" }, name),
              room.isModerator &&
                h(
                  "button",
                  { class: "link", on: { click: () => room.send({ type: "unban", user: name }) } },
                  "Unban",
                ),
            ),
          ),
        ),
      ],
      room.isModerator && settings(room, state),
      (state.links ?? []).length > 0 && [
        h("h3", {}, "Linked channels"),
        h(
          "ul",
          { class: "plain-list" },
          state.links.map((one) => h("li", {}, `${one.platform}: ${one.channel}`)),
        ),
      ],
    ),
  );
}

/** @param {RoomView} room @param {RoomState} state @param {string} name */
function person(room, state, name) {
  const role = state.members[name] ?? "visitor";
  const label = ROLES.find(([key]) => key === role)?.[1] ?? "Visitor";
  const here = room.live.present.has(name);
  const mayManage = room.isModerator && name !== session.name;
  const more = h(
    "button",
    {
      class: "icon-button small",
      "aria-label": `Manage ${name}`,
      on: { click: () => manage(more, room, state, name) },
    },
    icon("more"),
  );
  return h(
    "li",
    { data: { user: name } },
    avatar(name, here ? "here" : ""),
    h("span", { class: "person-name" }, name, name in state.muted && h("span", { class: "pill" }, "Muted")),
    h("span", { class: "muted" }, label),
    mayManage && more,
  );
}

/** @param {HTMLElement} anchor @param {RoomView} room @param {RoomState} state @param {string} user */
function manage(anchor, room, state, user) {
  const mayGive = room.role === "owner" || room.role === "admin";
  const roles = room.role === "owner" ? ROLES : ROLES.slice(2);
  const isMuted = user in state.muted;
  const hour = () => new Date(Date.now() + 3_600_000).toISOString();
  openMenu(
    anchor,
    [
      ...(mayGive
        ? roles.map(([role, label]) => ({
            label: `Make ${label.toLowerCase()}`,
            disabled: state.members[user] === role,
            run: () => {
              room.send({ type: "setMember", user, role });
            },
          }))
        : []),
      "line",
      isMuted
        ? { label: "Unmute", run: () => room.send({ type: "unmute", user }) }
        : { label: "Mute for an hour", run: () => room.send({ type: "mute", user, until: hour() }) },
      user in state.members && {
        label: "Remove from the room",
        danger: true,
        run: () => room.send({ type: "removeMember", user }),
      },
      {
        label: "Ban",
        danger: true,
        run: async () =>
          (await confirmDanger(
            `Ban ${user}?`,
            "They can neither read nor write here until they are unbanned.",
            "Ban",
          )) && room.send({ type: "ban", user }),
      },
    ],
    user,
  );
}

/** @param {RoomView} room */
async function add(room) {
  const answer = await ask({
    title: "Add a member",
    submit: "Add",
    fields: [
      { name: "user", label: "Name", required: true },
      { name: "role", label: "Role", type: "select", options: ROLES, value: "member" },
    ],
  });
  if (answer) room.send({ type: "setMember", user: answer.user, role: answer.role });
}

/** @param {RoomView} room */
async function leave(room) {
  if (await confirmDanger("Leave the room?", "You can come back where the room is open.", "Leave"))
    room.send({ type: "leave" });
}

/** @param {RoomView} room @param {RoomState} state */
function settings(room, state) {
  const known = SLOW.some(([value]) => value === String(state.slowMode));
  const choices = known
    ? SLOW
    : [...SLOW, /** @type {[string, string]} */ ([String(state.slowMode), `${state.slowMode} seconds`])];
  const slow = h(
    "select",
    {
      testid: "slow-mode",
      on: { change: () => room.send({ type: "setSlowMode", seconds: Number(slow.value) }) },
    },
    choices.map(([value, label]) =>
      h("option", { value, selected: value === String(state.slowMode) }, label),
    ),
  );
  const edit = async () => {
    const answer = await ask({
      title: "Room",
      submit: "Save",
      fields: [
        { name: "title", label: "Name", value: state.title, required: true },
        { name: "topic", label: "Topic", value: state.topic ?? "" },
        {
          name: "access",
          label: "Who can join",
          type: "select",
          value: state.access ?? "open",
          options: [
            ["open", "Anybody"],
            ["request", "On request"],
            ["invite", "By invitation"],
          ],
        },
      ],
    });
    if (answer)
      room.send({
        type: "updateRoom",
        title: answer.title,
        topic: answer.topic || null,
        access: answer.access,
      });
  };
  return h(
    "section",
    {},
    h("h3", {}, "Settings"),
    h("label", { class: "field" }, h("span", {}, "Slow mode"), slow),
    h("button", { class: "button quiet small", on: { click: edit } }, icon("edit"), "Name, topic, access"),
  );
}
