// One WebSocket to /ws: connects, reconnects with jitter, matches answers to requests. It knows
// nothing of entities. Heartbeats are protocol pings, which the browser answers by itself.

import { session } from "./session.js";
import { call } from "./http.js";

/** A request that got an error, or none at all (`code` "offline"). */
export class RequestError extends Error {
  /** @param {string} code @param {string} message @param {number} [retryAfter] Seconds. */
  constructor(code, message, retryAfter) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The longest pause between two attempts, in milliseconds. */
const LONGEST_PAUSE = 15_000;
/** After so long without a frame the connection is tried with a `ping`. */
const QUIET = 30_000;
/** How long that `ping` may take. */
const PONG_WITHIN = 8_000;

/**
 * Events: `state` (see `state`), `ready` (greeted by the server), `object` (detail: whatever the
 * server pushed).
 */
export class Socket extends EventTarget {
  /** @type {import("./types.js").Connection} */
  state = "connecting";
  /** @type {WebSocket | null} */
  #socket = null;
  #nextId = 1;
  /** @type {Map<number, {resolve: (ok: any) => void, reject: (error: RequestError) => void}>} */
  #waiting = new Map();
  #attempts = 0;
  #timer = 0;
  #heard = 0;
  #running = false;
  /** @type {[number, number] | null} */
  #drainPause = null;

  constructor() {
    super();
    window.setInterval(() => this.#watch(), 5_000);
    window.addEventListener("online", () => this.#hurry());
    window.addEventListener("offline", () => this.#probe());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hurry();
    });
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#attempts = 0;
    this.#setState("connecting");
    this.#connect();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#lost(this.#socket, 1000);
  }

  /**
   * @param {string} op
   * @param {Record<string, any>} [fields]
   * @returns {Promise<any>}
   */
  request(op, fields = {}) {
    const socket = this.#socket;
    if (this.state !== "online" || !socket) {
      return Promise.reject(new RequestError("offline", "There is no connection."));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      socket.send(JSON.stringify({ id, op, ...fields }));
    });
  }

  /** @param {string} entity @param {string} kind @param {any} data */
  signal(entity, kind, data) {
    if (this.state !== "online") return;
    this.#socket?.send(JSON.stringify({ op: "signal", entity, kind, data }));
  }

  #connect() {
    clearTimeout(this.#timer);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const protocols = ["switchyard.v1", `bearer.${session.token}`];
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, protocols);
    this.#socket = socket;
    socket.onmessage = (event) => this.#received(socket, event.data);
    socket.onclose = (event) => this.#lost(socket, event.code);
  }

  /** @param {WebSocket} socket @param {string} text */
  #received(socket, text) {
    if (socket !== this.#socket) return;
    this.#heard = performance.now();
    const parsed = JSON.parse(text);
    for (const object of Array.isArray(parsed) ? parsed : [parsed]) this.#object(object);
  }

  /** @param {any} object */
  #object(object) {
    if (object.id !== undefined && ("ok" in object || "error" in object)) {
      const waiting = this.#waiting.get(object.id);
      this.#waiting.delete(object.id);
      if (!waiting) return;
      const { error } = object;
      if (!error) waiting.resolve(object.ok);
      else waiting.reject(new RequestError(error.code, error.message, error.retryAfter));
      return;
    }
    if (object.type === "connected") {
      this.#attempts = 0;
      this.#setState("online");
      this.dispatchEvent(new CustomEvent("ready", { detail: object }));
    } else if (object.type === "drain") {
      this.#drainPause = object.reconnectIn ?? null;
    } else if (object.type === "tokenExpiring") {
      this.#renew();
    }
    this.dispatchEvent(new CustomEvent("object", { detail: object }));
  }

  async #renew() {
    const token = await session.renew();
    if (token) this.request("auth", { token }).catch(() => {});
  }

  /** @param {WebSocket | null} socket @param {number} code */
  #lost(socket, code) {
    if (!socket || socket !== this.#socket) return;
    this.#socket = null;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#setState("offline");
    for (const { reject } of waiting) {
      reject(new RequestError("offline", "The connection was lost."));
    }
    if (!this.#running) return;
    this.#retry(code);
  }

  /** @param {number} code */
  async #retry(code) {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#connect(), this.#pause());
    this.#attempts += 1;
    // A refused handshake looks like a broken connection: ask over HTTP which of the two it is.
    const suspicious = code === 4401 || code === 4403 || this.#attempts % 4 === 2;
    if (!suspicious) return;
    const answer = await call("/api/v1/rooms?limit=1").catch(() => null);
    if (answer?.status !== 401) return;
    if (!(await session.renew())) session.refused();
  }

  /** @returns {number} Milliseconds: random, so that thousands do not come back at once. */
  #pause() {
    if (this.#drainPause) {
      const [from, to] = this.#drainPause;
      this.#drainPause = null;
      return 1_000 * (from + Math.random() * (to - from));
    }
    const ceiling = Math.min(LONGEST_PAUSE, 600 * 2 ** this.#attempts);
    return 150 + Math.random() * ceiling;
  }

  /** Does not wait for the timer when there is reason to think that it works again. */
  #hurry() {
    if (!this.#running) return;
    if (!this.#socket) this.#connect();
    else this.#probe();
  }

  #watch() {
    if (this.state === "online" && performance.now() - this.#heard > QUIET) this.#probe();
  }

  /** Finds out whether a connection that looks open still is. */
  #probe() {
    const socket = this.#socket;
    if (this.state !== "online" || !socket) return;
    const timer = setTimeout(() => {
      socket.close();
      this.#lost(socket, 1006);
    }, PONG_WITHIN);
    this.request("ping")
      .catch(() => {})
      .finally(() => clearTimeout(timer));
  }

  /** @param {import("./types.js").Connection} state */
  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
