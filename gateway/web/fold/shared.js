// What the folds of the three kinds have in common.

/** @typedef {import("../core/live.js").Fact} Fact */

/**
 * @template {import("../core/types.js").Shared} S
 * @param {S} state
 * @param {Fact} fact
 * @returns {S | null} Null if this is not about members.
 */
export function applyMember(state, { type, data }) {
  if (type === "memberSet") {
    return { ...state, members: { ...state.members, [data.user]: data.role } };
  }
  if (type === "memberRemoved") return { ...state, members: without(state.members, data.user) };
  return null;
}

/**
 * @template T
 * @param {Record<string, T>} record
 * @param {string} key
 * @returns {Record<string, T>}
 */
export function without(record, key) {
  if (!(key in record)) return record;
  const { [key]: _gone, ...rest } = record;
  return rest;
}

/**
 * @template T
 * @param {T[]} list
 * @param {T | null | undefined} after Null: to the front. Unknown: to the end.
 * @param {T} item
 * @returns {T[]}
 */
export function placedAfter(list, after, item) {
  const others = list.filter((one) => one !== item);
  const place = after === null || after === undefined ? 0 : others.indexOf(after) + 1 || others.length;
  others.splice(place, 0, item);
  return others;
}

/**
 * The fields of an update command without its type and without the names in `but`.
 * @param {import("../core/types.js").Body} body
 * @param {...string} but
 */
export function fieldsOf(body, ...but) {
  const fields = { ...body };
  delete (/** @type {any} */ (fields).type);
  for (const name of but) delete fields[name];
  return fields;
}
