// Where one is (the hash) and where one has been (kept for the sidebar and the palette).

import { parseEntity } from "./ids.js";
import { session } from "./session.js";

/**
 * @typedef {object} Place
 * @property {"rooms" | "boards" | "events" | "status" | "identities"} section
 * @property {string | null} id
 */

const SECTIONS = ["rooms", "boards", "events", "status", "identities"];
/** Places that are remembered. */
const MOST_RECENT = 8;

/** @returns {Place} */
export function here() {
  const [, section, id] = location.hash.split("/");
  const known = SECTIONS.includes(section) ? section : "rooms";
  return {
    section: /** @type {Place["section"]} */ (known),
    id: id ? decodeURIComponent(id) : null,
  };
}

/** @param {string} entity */
export function hrefOf(entity) {
  const { kind, id } = parseEntity(entity);
  return `#/${kind}s/${encodeURIComponent(id)}`;
}

/** @param {string} href */
export function go(href) {
  location.hash = href;
}

/** @typedef {{entity: string, title: string, seq: number}} Recent */

function key() {
  return `switchyard.recent.${session.name}`;
}

/** @returns {Recent[]} Newest first. */
export function recents() {
  try {
    const kept = JSON.parse(localStorage.getItem(key()) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

/** @param {Recent} place */
export function remember(place) {
  const before = recents();
  const known = before.findIndex((one) => one.entity === place.entity);
  // One that is in the list keeps its line, so that the sidebar does not jump under the pointer.
  const list = known < 0 ? [place, ...before] : before.map((one, at) => (at === known ? place : one));
  localStorage.setItem(key(), JSON.stringify(list.slice(0, MOST_RECENT)));
  document.dispatchEvent(new Event("switchyard-recent"));
}

/** @param {string} entity @returns {number} The seq that was seen last, 0 if none. */
export function seenSeq(entity) {
  return Number(localStorage.getItem(`switchyard.seen.${session.name}.${entity}`) ?? 0);
}

/** @param {string} entity @param {number} seq */
export function markSeen(entity, seq) {
  localStorage.setItem(`switchyard.seen.${session.name}.${entity}`, String(seq));
}
