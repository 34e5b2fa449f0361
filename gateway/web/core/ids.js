// Identifiers made here: command ids (UUIDv7, RFC 9562) and ids of things inside an entity.

/** @returns {string} A UUIDv7: ordered by time, unique by chance. */
export function uuid7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let place = 5; place >= 0; place--) {
    bytes[place] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** @returns {string} An id for a task, message or the like. */
export function itemId() {
  return uuid7().replaceAll("-", "");
}

/**
 * @param {string} principal `user:ada`
 * @returns {string} `ada`; other principals whole.
 */
export function plainName(principal) {
  return principal.startsWith("user:") ? principal.slice(5) : principal;
}

/** @param {string} entity @returns {{kind: import("./types.js").Kind, id: string}} */
export function parseEntity(entity) {
  const colon = entity.indexOf(":");
  return {
    kind: /** @type {import("./types.js").Kind} */ (entity.slice(0, colon)),
    id: entity.slice(colon + 1),
  };
}
