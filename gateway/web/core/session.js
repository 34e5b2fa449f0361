// Who is signed in. The token lives in sessionStorage, so that two windows can be two people.

const KEY = "switchyard.token";
const BY_NAME = "switchyard.byName";

class Session extends EventTarget {
  token = sessionStorage.getItem(KEY) ?? "";

  /** @returns {string} The plain name, read from the token; the server alone verifies it. */
  get name() {
    return String(claims(this.token).sub ?? "").replace(/^user:/, "");
  }

  get principal() {
    return `user:${this.name}`;
  }

  /** Whether the token carries the tenant's role `admin`. */
  get isAdmin() {
    const { roles } = claims(this.token);
    return Array.isArray(roles) && roles.includes("admin");
  }

  /**
   * Development only: asks the server for a token.
   * @param {string} name
   * @returns {Promise<"ok" | "unsupported" | string>} Or why it did not work.
   */
  async signInByName(name) {
    const token = await tokenFor(name);
    if (!token.token) return token.reason;
    sessionStorage.setItem(BY_NAME, "yes");
    this.signIn(token.token);
    return "ok";
  }

  /** @param {string} token */
  signIn(token) {
    this.token = token.trim();
    sessionStorage.setItem(KEY, this.token);
    this.dispatchEvent(new Event("change"));
  }

  /** Replaces a token that is about to end, where the server hands them out by name. */
  async renew() {
    if (sessionStorage.getItem(BY_NAME) !== "yes") return null;
    const { token } = await tokenFor(this.name);
    if (!token) return null;
    this.token = token;
    sessionStorage.setItem(KEY, token);
    return token;
  }

  signOut() {
    this.token = "";
    sessionStorage.removeItem(KEY);
    sessionStorage.removeItem(BY_NAME);
    this.dispatchEvent(new Event("change"));
  }

  /** The server no longer takes the token. */
  refused() {
    if (!this.token) return;
    this.signOut();
    this.dispatchEvent(new Event("refused"));
  }
}

/** @param {string} name @returns {Promise<{token?: string, reason: string}>} */
async function tokenFor(name) {
  try {
    const response = await fetch("/dev/token", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ sub: name }),
    });
    if (response.status === 404 || response.status === 403) return { reason: "unsupported" };
    const body = await response.json().catch(() => ({}));
    if (response.ok && body.token) return { token: body.token, reason: "" };
    return { reason: body.detail ?? `The server answered ${response.status}.` };
  } catch {
    return { reason: "The server cannot be reached." };
  }
}

/** @param {string} token @returns {Record<string, any>} */
function claims(token) {
  try {
    const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

export const session = new Session();
