// Messages older than those of the state, folded from the journal page by page.

import { store } from "../../core/store.js";
import { apply } from "../../fold/room.js";

/**
 * @typedef {import("../../core/types.js").RoomState} RoomState
 * @typedef {import("../../core/types.js").Change} Change
 */

/** Changes a page. */
const PAGE = 500;
/** Messages that one step should bring. */
const STEP = 60;
/** Messages that a state keeps: with fewer there is nothing older. */
const KEPT = 200;

export class History {
  /** @type {Change[]} */
  #changes = [];
  /** What the changes fold to. @type {RoomState | null} */
  #older = null;
  #more = true;
  busy = false;

  /** @param {import("../../core/live.js").Live} live */
  constructor(live) {
    this.live = live;
  }

  /** Whether something older may be had. @param {RoomState} state */
  hasMore(state) {
    return this.#more && (this.#older !== null || state.messages.length >= KEPT);
  }

  /** Asks for one step further back. */
  async load() {
    if (this.busy) return;
    this.busy = true;
    const oldest = this.#older?.messages[0]?.id ?? this.live.state.messages[0]?.id;
    try {
      let found = 0;
      let reached = this.#older !== null;
      while (this.#more && found < STEP) {
        const before = this.#changes[0]?.seq ?? this.live.seq + 1;
        const { changes, more } = await store.socket.request("history", {
          entity: this.live.entity,
          before,
          limit: PAGE,
        });
        this.#changes = [...changes, ...this.#changes];
        this.#more = more && changes.length > 0;
        for (const { type, data } of /** @type {Change[]} */ (changes).toReversed()) {
          if (type !== "messagePosted") continue;
          if (reached) found += 1;
          else reached = data.message === oldest;
        }
      }
      this.#fold();
    } finally {
      this.busy = false;
    }
  }

  /** @param {Change} change One that has just come. */
  take(change) {
    if (!this.#older) return;
    this.#changes.push(change);
    this.#older = apply(this.#older, change);
  }

  /** @param {RoomState} state @returns {RoomState} With the older messages before its own. */
  merge(state) {
    if (!this.#older) return state;
    const own = new Set(state.messages.map((message) => message.id));
    const older = this.#older.messages.filter((message) => !own.has(message.id));
    return { ...state, messages: [...older, ...state.messages] };
  }

  #fold() {
    /** @type {RoomState} */
    let state = { ...this.live.state, messages: [], pins: [], kept: Infinity };
    for (const change of this.#changes) state = apply(state, change);
    this.#older = state;
  }
}
