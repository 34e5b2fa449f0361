// Requests to /api/v1 and to the few paths beside it, with the problems of RFC 9457 as errors.

import { session } from "./session.js";
import { uuid7 } from "./ids.js";

/** What the server refused, or "unavailable" if it was not reached. */
export class Problem extends Error {
  /** @param {string} code @param {string} message @param {number} status */
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {{method?: string, body?: any, headers?: Record<string, string>, anonymous?: boolean}} [options]
 * @returns {Promise<{status: number, body: any}>}
 */
export async function call(path, options = {}) {
  const headers = new Headers(options.headers);
  if (!options.anonymous && session.token) headers.set("Authorization", `Bearer ${session.token}`);
  if (options.body !== undefined) headers.set("Content-Type", "application/json");
  let response;
  try {
    response = await fetch(path, {
      method: options.method ?? "GET",
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
    });
  } catch {
    throw new Problem("unavailable", "The server cannot be reached.", 0);
  }
  const text = await response.text();
  /** @type {any} */
  let body = null;
  try {
    body = text === "" ? null : JSON.parse(text);
  } catch {
    body = null;
  }
  return { status: response.status, body };
}

/**
 * As `call`, but anything but 2xx is thrown.
 * @param {string} path
 * @param {Parameters<typeof call>[1]} [options]
 */
export async function need(path, options) {
  const { status, body } = await call(path, options);
  if (status >= 200 && status < 300) return body;
  const code = body?.code ?? (status === 401 ? "unauthenticated" : "unavailable");
  if (status === 401 && !options?.anonymous) session.refused();
  throw new Problem(code, body?.detail ?? body?.title ?? `The server answered ${status}.`, status);
}

/**
 * @param {import("./types.js").Kind} kind
 * @param {{q?: string, limit?: number, cursor?: string | null}} [query]
 * @returns {Promise<{items: import("./types.js").ListItem[], cursor: string | null}>}
 */
export function list(kind, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  return need(`/api/v1/${kind}s?${search}`);
}

/**
 * @param {import("./types.js").Kind} kind
 * @param {Record<string, any>} fields
 * @returns {Promise<{entity: string, seq: number, state: any}>}
 */
export function create(kind, fields) {
  return need(`/api/v1/${kind}s`, {
    method: "POST",
    body: fields,
    headers: { "Idempotency-Key": uuid7() },
  });
}
