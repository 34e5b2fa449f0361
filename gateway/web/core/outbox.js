// Commands that wait for their answer. They are sent in order while there is a connection, kept
// while there is none, and sent again with the same id when it is not known what came of them.

import { RequestError } from "./socket.js";
import { uuid7 } from "./ids.js";

/**
 * @typedef {object} Entry
 * @property {string} commandId
 * @property {string} entity
 * @property {import("./types.js").Body} body
 * @property {boolean} sent
 * @property {number} tries
 * @property {(ok: any) => void} resolve
 * @property {(error: RequestError) => void} reject
 */

/** Codes after which the same command is sent again. */
const AGAIN = new Set(["offline", "unavailable", "timeout"]);
/** Tries after which a command that the server never settles is given up. */
const MOST_TRIES = 8;
/** Commands that may wait; more are refused here. */
const MOST_WAITING = 500;

/** Event `change`: the number of those that wait. */
export class Outbox extends EventTarget {
  /** @type {Entry[]} */
  #entries = [];
  #timer = 0;
  #pausedUntil = 0;

  /** @param {import("./socket.js").Socket} socket */
  constructor(socket) {
    super();
    this.socket = socket;
    socket.addEventListener("ready", () => {
      this.#pausedUntil = 0;
    });
  }

  get waiting() {
    return this.#entries.length;
  }

  /**
   * @param {string} entity
   * @param {import("./types.js").Body} body
   * @returns {{commandId: string, done: Promise<any>}}
   */
  add(entity, body) {
    const commandId = uuid7();
    /** @type {Promise<any>} */
    const done = new Promise((resolve, reject) => {
      if (this.#entries.length >= MOST_WAITING) {
        reject(new RequestError("rate_limited", "Too many changes are waiting already."));
        return;
      }
      this.#entries.push({ commandId, entity, body, sent: false, tries: 0, resolve, reject });
    });
    this.#changed();
    this.pump();
    return { commandId, done };
  }

  /** Sends what is not on its way. Whoever owns this calls it once the entities are joined. */
  pump() {
    if (this.socket.state !== "online" || performance.now() < this.#pausedUntil) return;
    for (const entry of this.#entries) {
      if (!entry.sent) this.#send(entry);
    }
  }

  /** Forgets everything, as on signing out. */
  clear() {
    const entries = this.#entries;
    this.#entries = [];
    for (const { reject } of entries) reject(new RequestError("offline", "Signed out."));
    this.#changed();
  }

  /** @param {Entry} entry */
  async #send(entry) {
    const { entity, body, commandId } = entry;
    entry.sent = true;
    entry.tries += 1;
    try {
      const ok = await this.socket.request("command", { entity, body, commandId });
      this.#settle(entry);
      entry.resolve(ok);
    } catch (error) {
      const refusal = /** @type {RequestError} */ (error);
      if (!this.#entries.includes(entry)) return;
      if (isRetried(entry, refusal)) return this.#later(entry, refusal);
      this.#settle(entry);
      entry.reject(refusal);
    }
  }

  /** @param {Entry} entry @param {RequestError} refusal */
  #later(entry, refusal) {
    entry.sent = false;
    if (refusal.code === "offline") {
      entry.tries -= 1;
      return;
    }
    const pause = 1_000 * (refusal.retryAfter ?? 0.5 * entry.tries) + Math.random() * 300;
    this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + pause);
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.pump(), this.#pausedUntil - performance.now() + 5);
  }

  /** @param {Entry} entry */
  #settle(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * A rate limit of the gateway passes; one by a room's slow mode is the outcome of this command and
 * stays (R8), so what people post is not sent again.
 * @param {Entry} entry
 * @param {RequestError} refusal
 */
function isRetried(entry, refusal) {
  if (refusal.code === "offline") return true;
  if (entry.tries >= MOST_TRIES) return false;
  if (refusal.code === "rate_limited") return entry.body.type !== "post";
  return AGAIN.has(refusal.code);
}
