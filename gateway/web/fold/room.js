// A room's state from its changes, and what a command will probably change.

import { applyMember, fieldsOf, without } from "./shared.js";

/**
 * @typedef {import("../core/types.js").RoomState} State
 * @typedef {import("../core/types.js").Message} Message
 * @typedef {import("../core/live.js").Fact} Fact
 */

/** Messages that a state keeps whole, as the server does. */
const KEPT = 200;

/** @param {State} state @param {Fact} fact @returns {State} */
export function apply(state, fact) {
  const { type, data, at } = fact;
  switch (type) {
    case "roomUpdated":
      return { ...state, ...data.fields };
    case "messagePosted":
      return { ...state, messages: [...state.messages, posted(fact)].slice(-(state.kept ?? KEPT)) };
    case "messageEdited": {
      const { text, content } = data;
      return withMessage(state, data.message, () => ({ text, content, editedAt: at }));
    }
    case "messageDeleted":
      return {
        ...withMessage(state, data.message, () => ({
          text: null,
          content: null,
          deleted: true,
          attachments: [],
        })),
        pins: state.pins.filter((id) => id !== data.message),
      };
    case "reactionAdded":
      return withMessage(state, data.message, (message) => ({ reactions: reacted(message, data) }));
    case "reactionRemoved":
      return withMessage(state, data.message, (message) => ({ reactions: unreacted(message, data) }));
    case "messagePinned":
      return { ...state, pins: [...state.pins.filter((id) => id !== data.message), data.message] };
    case "messageUnpinned":
      return { ...state, pins: state.pins.filter((id) => id !== data.message) };
    case "readMoved":
      return { ...state, reads: { ...state.reads, [data.user]: data.message } };
    case "slowModeSet":
      return { ...state, slowMode: data.seconds };
    case "linkAdded":
      return { ...state, links: [...state.links, data] };
    case "linkRemoved":
      return { ...state, links: state.links.filter((one) => (one.id ?? one.link) !== data.link) };
    default:
      return members(state, fact);
  }
}

/** @param {State} state @param {Fact} fact @returns {State} */
function members(state, fact) {
  const { type, data } = fact;
  const requests = (state.requests ?? []).filter((user) => user !== data.user);
  switch (type) {
    case "joinRequested":
      return { ...state, requests: [...requests, data.user] };
    case "memberMuted":
      return { ...state, muted: { ...state.muted, [data.user]: data.until ?? null } };
    case "memberUnmuted":
      return { ...state, muted: without(state.muted, data.user) };
    case "memberBanned": {
      const banned = [...state.banned.filter((user) => user !== data.user), data.user];
      return { ...state, banned, requests, members: without(state.members, data.user) };
    }
    case "memberUnbanned":
      return { ...state, banned: state.banned.filter((user) => user !== data.user) };
    default: {
      const next = applyMember(state, fact);
      return next ? { ...next, requests } : state;
    }
  }
}

/** @param {Fact} fact @returns {Message} */
function posted({ data, at, by, seq }) {
  return {
    id: data.message,
    author: data.author ?? by,
    at,
    text: data.text,
    content: data.content ?? null,
    replyTo: data.replyTo ?? null,
    thread: data.thread ?? null,
    editedAt: null,
    deleted: false,
    reactions: {},
    attachments: data.attachments ?? [],
    origin: data.origin ?? null,
    waiting: seq === undefined,
  };
}

/** @param {Message} message @param {any} data */
function reacted({ reactions }, { emoji, user }) {
  const users = (reactions[emoji] ?? []).filter((one) => one !== user);
  return { ...reactions, [emoji]: [...users, user] };
}

/** @param {Message} message @param {any} data */
function unreacted({ reactions }, { emoji, user }) {
  const users = (reactions[emoji] ?? []).filter((one) => one !== user);
  return users.length === 0 ? without(reactions, emoji) : { ...reactions, [emoji]: users };
}

/**
 * @param {State} state
 * @param {string} id
 * @param {(message: Message) => Partial<Message>} change
 * @returns {State}
 */
function withMessage(state, id, change) {
  const messages = state.messages.map((one) => (one.id === id ? { ...one, ...change(one) } : one));
  return { ...state, messages };
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
    case "post":
      return body.message ? [{ type: "messagePosted", data: { ...data, author: `user:${me}` } }] : [];
    case "edit":
      return [{ type: "messageEdited", data: { ...data, content: null } }];
    case "delete":
      return [{ type: "messageDeleted", data }];
    case "react":
      return [{ type: "reactionAdded", data: { ...data, user: me } }];
    case "unreact":
      return [{ type: "reactionRemoved", data: { ...data, user: me } }];
    case "pin":
      return [{ type: "messagePinned", data }];
    case "unpin":
      return [{ type: "messageUnpinned", data }];
    case "markRead":
      return [{ type: "readMoved", data: { ...data, user: me } }];
    case "setMember":
      return state.members[body.user] === body.role ? [] : [{ type: "memberSet", data }];
    case "setSlowMode":
      return [{ type: "slowModeSet", data }];
    default:
      return [];
  }
}
