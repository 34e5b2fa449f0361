// One entity as this page sees it: the state the server confirmed, plus what is predicted from
// commands that have no answer yet. States are never changed in place, so whoever keeps one can
// tell what differs by comparing references.

/**
 * @typedef {{type: string, at: string, by: string, data: import("./types.js").Data, seq?: number, commandId?: string}} Fact
 *   A change, or what is predicted to become one.
 * @typedef {object} Fold
 * @property {(state: any, fact: Fact) => any} apply
 * @property {(state: any, body: import("./types.js").Body, me: string) => {type: string, data: any}[]} predict
 * @typedef {{commandId: string, facts: Fact[]}} Pending
 */

/**
 * Events: `update` (state, error or loading), `presence`, `signal` (detail), `change` (detail: a
 * confirmed change), at most one `update` for everything that came in one turn.
 */
export class Live extends EventTarget {
  /** The confirmed state. @type {any} */
  #base = null;
  /** @type {Pending[]} */
  #pending = [];
  #notified = true;
  seq = 0;
  /** Why there is no state, if the server refused. @type {{code: string, message: string} | null} */
  error = null;
  /** Confirmed plus predicted. @type {any} */
  state = null;
  /** Who is here. @type {Set<string>} */
  present = new Set();
  /** What they say of themselves. @type {Map<string, {status: string, text: string | null}>} */
  statuses = new Map();
  /** How many views show it. */
  users = 0;
  /** Whether the server sends its changes. */
  joined = false;

  /** @param {string} entity @param {Fold} fold */
  constructor(entity, fold) {
    super();
    this.entity = entity;
    this.fold = fold;
  }

  /** @param {number} seq @param {any} state */
  reset(seq, state) {
    this.seq = seq;
    this.#base = state;
    this.error = null;
    this.#refold();
  }

  /** @param {{code: string, message: string}} error */
  fail(error) {
    this.error = error;
    this.#notify();
  }

  /**
   * @param {import("./types.js").Change} change
   * @returns {"applied" | "known" | "gap"}
   */
  take(change) {
    if (!this.#base || change.seq <= this.seq) return "known";
    if (change.seq > this.seq + 1) return "gap";
    this.seq = change.seq;
    this.#base = this.fold.apply(this.#base, change);
    this.#pending = this.#pending.filter((one) => one.commandId !== change.commandId);
    this.#refold();
    this.dispatchEvent(new CustomEvent("change", { detail: change }));
    return "applied";
  }

  /**
   * Shows at once what the command will probably do.
   * @param {string} commandId
   * @param {import("./types.js").Body} body
   * @param {string} me A plain name.
   */
  predict(commandId, body, me) {
    if (!this.state) return;
    const at = new Date().toISOString();
    const facts = this.fold
      .predict(this.state, body, me)
      .map(({ type, data }) => ({ type, data, at, by: `user:${me}` }));
    if (facts.length === 0) return;
    this.#pending.push({ commandId, facts });
    for (const fact of facts) this.state = this.fold.apply(this.state, fact);
    this.#notify();
  }

  /** The command has an answer: whatever was predicted from it goes. @param {string} commandId */
  settle(commandId) {
    const before = this.#pending.length;
    this.#pending = this.#pending.filter((one) => one.commandId !== commandId);
    if (this.#pending.length !== before) this.#refold();
  }

  /** @param {string[]} joined @param {string[]} left */
  presence(joined, left) {
    for (const user of joined) this.present.add(user);
    for (const user of left) this.present.delete(user);
    this.dispatchEvent(new Event("presence"));
  }

  #refold() {
    let state = this.#base;
    for (const { facts } of this.#pending) {
      for (const fact of facts) state = this.fold.apply(state, fact);
    }
    this.state = state;
    this.#notify();
  }

  #notify() {
    if (!this.#notified) return;
    this.#notified = false;
    queueMicrotask(() => {
      this.#notified = true;
      this.dispatchEvent(new Event("update"));
    });
  }
}
