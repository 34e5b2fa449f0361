// Who comes, who waits, who was asked; organisers invite and check in.

import { h, fill } from "../../core/dom.js";
import { session } from "../../core/session.js";
import { avatar } from "../../parts/avatar.js";
import { ask } from "../../parts/dialog.js";
import { icon } from "../../parts/icons.js";
import { openMenu } from "../../parts/menu.js";

/**
 * @typedef {import("../../core/types.js").EventState} EventState
 * @typedef {import("../event.js").EventView} EventView
 */

/** @type {[string, string][]} */
const GROUPS = [
  ["confirmed", "Coming"],
  ["waitlisted", "Waiting"],
  ["tentative", "Maybe"],
  ["invited", "Invited"],
  ["declined", "Not coming"],
];
/** @type {[string, string][]} */
const ROLES = [
  ["participant", "Participant"],
  ["staff", "Staff"],
  ["coOrganiser", "Co-organiser"],
  ["organiser", "Organiser"],
];
/** People of a group that are shown at once. */
const MOST = 100;

/** @param {EventView} event @param {HTMLElement} part @param {EventState} state */
export function participantsPart(event, part, state) {
  const groups = GROUPS.map(([standing, label]) => {
    const names = Object.keys(state.participants).filter(
      (name) => state.participants[name].standing === standing,
    );
    // Those who wait stand in the order in which they will be promoted.
    names.sort(
      standing === "waitlisted" ? (a, b) => state.waitlist.indexOf(a) - state.waitlist.indexOf(b) : undefined,
    );
    if (names.length === 0) return null;
    const list = h(
      standing === "waitlisted" ? "ol" : "ul",
      { class: "people", testid: standing === "waitlisted" ? "waitlist" : `standing-${standing}` },
      names.slice(0, MOST).map((name) => person(event, state, name)),
    );
    return h(
      "section",
      {},
      h("h3", {}, label, " ", h("span", { class: "muted" }, names.length)),
      list,
      names.length > MOST && h("p", { class: "muted" }, `and ${names.length - MOST} more`),
    );
  });
  const invite = async () => {
    const answer = await ask({
      title: "Invite",
      submit: "Invite",
      submitTestid: "invite-submit",
      fields: [
        { name: "user", label: "Name", required: true, testid: "invite-user" },
        { name: "role", label: "As", type: "select", options: ROLES, value: "participant" },
      ],
    });
    if (answer) event.send({ type: "invite", user: answer.user, role: answer.role });
  };
  fill(
    part,
    h(
      "header",
      { class: "part-head" },
      h("h2", {}, "People"),
      event.isOrganiser &&
        h(
          "button",
          { class: "button quiet small", testid: "invite", on: { click: invite } },
          icon("plus"),
          "Invite",
        ),
    ),
    groups.some(Boolean) ? groups : h("p", { class: "muted" }, "Nobody has answered yet."),
  );
}

/** @param {EventView} event @param {EventState} state @param {string} name */
function person(event, state, name) {
  const { role, checkedIn, standing, plusOnes = 0 } = state.participants[name];
  const label = ROLES.find(([key]) => key === role)?.[1];
  const mayCheckIn =
    event.isOrganiser &&
    standing === "confirmed" &&
    !checkedIn &&
    (state.status === "published" || state.status === "ongoing");
  const more = h(
    "button",
    {
      class: "icon-button small",
      "aria-label": `Manage ${name}`,
      on: {
        click: () =>
          openMenu(
            more,
            [
              ...ROLES.map(([key, words]) => ({
                label: `Make ${words.toLowerCase()}`,
                disabled: key === role,
                run: () => {
                  event.send({ type: "setRole", user: name, role: key });
                },
              })),
              "line",
              {
                label: "Answer yes for them",
                run: () => event.send({ type: "respond", user: name, answer: "yes" }),
              },
              {
                label: "Answer no for them",
                run: () => event.send({ type: "respond", user: name, answer: "no" }),
              },
            ],
            name,
          ),
      },
    },
    icon("more"),
  );
  return h(
    "li",
    { data: { user: name } },
    avatar(name),
    h(
      "span",
      { class: "person-name" },
      name === session.name ? `${name} (you)` : name,
      plusOnes > 0 && h("span", { class: "pill" }, `+${plusOnes}`),
    ),
    role !== "participant" && h("span", { class: "muted" }, label),
    checkedIn && h("span", { class: "pill good" }, "Here"),
    mayCheckIn &&
      h(
        "button",
        {
          class: "button quiet small",
          testid: `check-in-${name}`,
          on: { click: () => event.send({ type: "checkIn", user: name }) },
        },
        icon("check"),
        "Check in",
      ),
    event.isOrganiser && more,
  );
}
