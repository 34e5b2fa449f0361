// All entities that this page follows, over one socket: joins, resumes by `since` after a lost
// connection, hands changes to the right place, sends commands with prediction and rollback.

import { Live } from "./live.js";
import { Outbox } from "./outbox.js";
import { RequestError, Socket } from "./socket.js";
import { parseEntity } from "./ids.js";
import { session } from "./session.js";
import * as board from "../fold/board.js";
import * as event from "../fold/event.js";
import * as room from "../fold/room.js";

const FOLDS = { board, event, room };
/** How long an entity stays joined after its last view has gone, in milliseconds. */
const LINGER = 20_000;
/** Entities whose state is kept for a quick return. */
const MOST_KEPT = 12;

/** Events: `connection`, `waiting`, `refused` (detail: {entity, body, error}), `notice` (detail). */
class Store extends EventTarget {
  socket = new Socket();
  outbox = new Outbox(this.socket);
  /** @type {Map<string, Live>} */
  #lives = new Map();

  constructor() {
    super();
    this.socket.addEventListener("state", () => this.#connection());
    this.socket.addEventListener("ready", () => this.#rejoin());
    this.socket.addEventListener("object", (e) => this.#object(/** @type {CustomEvent} */ (e).detail));
    this.outbox.addEventListener("change", () => this.dispatchEvent(new Event("waiting")));
  }

  /** @returns {import("./types.js").Connection} */
  get connection() {
    return this.socket.state;
  }

  get waiting() {
    return this.outbox.waiting;
  }

  start() {
    this.socket.start();
  }

  stop() {
    this.socket.stop();
    this.outbox.clear();
    this.#lives.clear();
  }

  /**
   * Follows an entity until `close`. Its state is there at once if it was followed lately.
   * @param {string} entity
   * @returns {Live}
   */
  open(entity) {
    let live = this.#lives.get(entity);
    if (!live) {
      live = new Live(entity, FOLDS[parseEntity(entity).kind]);
    }
    // Last used last: the first of the map is the one to forget.
    this.#lives.delete(entity);
    this.#lives.set(entity, live);
    live.users += 1;
    if (!live.joined) this.#join(live);
    return live;
  }

  /** @param {Live} live */
  close(live) {
    live.users -= 1;
    window.setTimeout(() => {
      if (live.users > 0 || !live.joined) return;
      live.joined = false;
      live.present.clear();
      this.socket.request("leave", { entity: live.entity }).catch(() => {});
      this.#forgetSome();
    }, LINGER);
  }

  /**
   * Sends a command; shows its likely effect at once and takes it back if it is refused.
   * @param {Live} live
   * @param {import("./types.js").Body} body
   * @param {{quiet?: boolean}} [options] `quiet`: a refusal is nobody's business.
   * @returns {Promise<any>} Resolves to the answer, or to null after a refusal.
   */
  async send(live, body, { quiet = false } = {}) {
    const { commandId, done } = this.outbox.add(live.entity, body);
    live.predict(commandId, body, session.name);
    try {
      const ok = await done;
      live.settle(commandId);
      return ok;
    } catch (error) {
      live.settle(commandId);
      if (!quiet) {
        const detail = { entity: live.entity, body, error };
        this.dispatchEvent(new CustomEvent("refused", { detail }));
      }
      return null;
    }
  }

  /** @param {Live} live */
  async #join(live) {
    if (this.connection !== "online") return;
    live.joined = true;
    const since = live.state ? { since: live.seq } : {};
    try {
      const ok = await this.socket.request("join", { entity: live.entity, ...since });
      if (ok.state) live.reset(ok.seq, ok.state);
      else for (const change of ok.changes ?? []) this.#change(live, change);
      if (!ok.state && !ok.recovered) await this.#joinAnew(live);
    } catch (error) {
      live.joined = false;
      const refusal = /** @type {RequestError} */ (error);
      if (refusal.code === "rate_limited" || refusal.code === "unavailable" || refusal.code === "timeout") {
        window.setTimeout(() => live.users > 0 && this.#join(live), 1_000 * (refusal.retryAfter ?? 1));
      } else if (refusal.code !== "offline") {
        live.fail({ code: refusal.code, message: refusal.message });
      }
    }
  }

  /** @param {Live} live */
  async #joinAnew(live) {
    const ok = await this.socket.request("join", { entity: live.entity });
    if (ok.state) live.reset(ok.seq, ok.state);
  }

  async #rejoin() {
    const joins = [];
    for (const live of this.#lives.values()) {
      live.joined = false;
      if (live.users > 0) joins.push(this.#join(live));
    }
    await Promise.all(joins);
    this.outbox.pump();
  }

  #connection() {
    if (this.connection !== "online") {
      for (const live of this.#lives.values()) {
        live.joined = false;
        live.present.clear();
        live.dispatchEvent(new Event("presence"));
      }
    }
    this.dispatchEvent(new Event("connection"));
  }

  /** @param {any} object */
  #object(object) {
    const live = this.#lives.get(object.entity);
    if (live && object.signal) live.dispatchEvent(new CustomEvent("signal", { detail: object }));
    else if (live && object.presence) live.presence(object.presence.joined ?? [], object.presence.left ?? []);
    else if (live && object.seq) this.#change(live, object);
    else if (live && object.type === "userStatusChanged") this.#status(live, object.data);
    else if (!object.entity && object.type) this.dispatchEvent(new CustomEvent("notice", { detail: object }));
  }

  /** @param {Live} live @param {import("./types.js").Change} change */
  #change(live, change) {
    if (live.take(change) === "gap") this.#joinAnew(live).catch(() => {});
  }

  /** @param {Live} live @param {{user: string, status: string, text: string | null}} data */
  #status(live, { user, status, text }) {
    live.statuses.set(user, { status, text });
    live.dispatchEvent(new Event("presence"));
  }

  #forgetSome() {
    for (const [entity, live] of this.#lives) {
      if (this.#lives.size <= MOST_KEPT) return;
      if (live.users <= 0) this.#lives.delete(entity);
    }
  }
}

export const store = new Store();
