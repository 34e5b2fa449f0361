// The frame around the views: navigation, connection, offline banner, keys, routing.

import { h, fill, isTyping } from "../core/dom.js";
import { here, hrefOf, recents } from "../core/places.js";
import { parseEntity } from "../core/ids.js";
import { session } from "../core/session.js";
import { store } from "../core/store.js";
import { THEME_WORDS, nextTheme, theme } from "../core/theme.js";
import { avatar } from "../parts/avatar.js";
import { icon, mark } from "../parts/icons.js";
import { closePopover, openMenu } from "../parts/menu.js";
import { openPalette } from "../parts/palette.js";
import { showKeys } from "../parts/keys.js";
import { BoardView } from "./board.js";
import { EventList } from "./events.js";
import { EventView } from "./event.js";
import { IdentitiesView } from "./identities.js";
import { ListView } from "./list.js";
import { RoomView } from "./room.js";
import { StatusView } from "./status.js";

/** @type {{section: import("../core/places.js").Place["section"], label: string, icon: import("../parts/icons.js").IconName}[]} */
const NAVIGATION = [
  { section: "rooms", label: "Rooms", icon: "room" },
  { section: "boards", label: "Boards", icon: "board" },
  { section: "events", label: "Events", icon: "event" },
  { section: "status", label: "Status", icon: "status" },
];
/** What admins of the tenant have beside these. @type {typeof NAVIGATION} */
const FOR_ADMINS = [{ section: "identities", label: "Identities", icon: "people" }];

function navigation() {
  return session.isAdmin ? [...NAVIGATION, ...FOR_ADMINS] : NAVIGATION;
}

export class Shell extends HTMLElement {
  #main = h("main", { id: "main", tabIndex: -1 });
  #banner = h("div", { class: "banner", testid: "offline-banner", role: "status", hidden: true });
  #connection = h("span", { class: "connection", testid: "connection", role: "status" });
  #recent = h("nav", { class: "recent", "aria-label": "Lately opened" });
  #nav = h("nav", { class: "nav", "aria-label": "Sections" });
  #theme = h("button", { class: "icon-button", testid: "theme-switch", on: { click: nextTheme } });
  #off = new AbortController();

  connectedCallback() {
    this.className = "shell";
    const skip = h(
      "a",
      {
        class: "skip",
        href: "#main",
        on: {
          click: (/** @type {Event} */ e) => {
            e.preventDefault();
            this.#main.focus();
          },
        },
      },
      "Skip to the content",
    );
    const search = h(
      "button",
      { class: "search-button", on: { click: () => openPalette() } },
      icon("search"),
      h("span", {}, "Search"),
      h("kbd", {}, "Ctrl K"),
    );
    const me = h(
      "button",
      { class: "me", "aria-haspopup": "menu", on: { click: () => this.#openMe(me) } },
      avatar(session.name),
      h("span", { class: "me-name" }, session.name),
    );
    const side = h(
      "aside",
      { class: "side" },
      h("a", { class: "brand", href: "#/rooms" }, mark(), h("span", {}, "Switchyard")),
      search,
      this.#nav,
      this.#recent,
      h("div", { class: "side-foot" }, me, this.#connection, this.#theme),
    );
    fill(this, skip, side, h("div", { class: "stage" }, this.#banner, this.#main));

    const { signal } = this.#off;
    window.addEventListener("hashchange", () => this.#route(), { signal });
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    document.addEventListener("switchyard-theme", () => this.#showTheme(), { signal });
    document.addEventListener("switchyard-recent", () => this.#showRecent(), { signal });
    store.addEventListener("connection", () => this.#showConnection(), { signal });
    store.addEventListener("waiting", () => this.#showConnection(), { signal });
    this.#showTheme();
    this.#showConnection();
    this.#route();
  }

  disconnectedCallback() {
    this.#off.abort();
    closePopover();
  }

  #route() {
    closePopover();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    const { section, id } = here();
    this.dataset.inside = id === null ? "no" : "yes";
    fill(
      this.#nav,
      ...navigation().map((one) =>
        h(
          "a",
          {
            href: `#/${one.section}`,
            testid: `nav-${one.section}`,
            "aria-current": one.section === section ? "page" : "false",
          },
          icon(one.icon),
          h("span", {}, one.label),
        ),
      ),
    );
    fill(this.#main, this.#view(section, id));
    this.#main.scrollTop = 0;
    this.#showRecent();
  }

  /** @param {string} section @param {string | null} id @returns {HTMLElement} */
  #view(section, id) {
    if (section === "status") return new StatusView();
    if (section === "identities") return new IdentitiesView();
    if (section === "boards") return id === null ? new ListView("board") : new BoardView(`board:${id}`);
    if (section === "events") return id === null ? new EventList() : new EventView(`event:${id}`);
    return id === null ? new ListView("room") : new RoomView(`room:${id}`);
  }

  #showRecent() {
    const list = recents();
    const current = location.hash;
    fill(
      this.#recent,
      list.length > 0 && h("h2", {}, "Lately opened"),
      ...list.map(({ entity, title }) =>
        h(
          "a",
          { href: hrefOf(entity), "aria-current": hrefOf(entity) === current ? "page" : "false", title },
          icon(parseEntity(entity).kind),
          h("span", {}, title),
        ),
      ),
    );
  }

  #showTheme() {
    const { label, icon: name } = THEME_WORDS[theme()];
    this.#theme.title = label;
    this.#theme.setAttribute("aria-label", label);
    fill(this.#theme, icon(name));
  }

  #showConnection() {
    const { connection, waiting } = store;
    this.#connection.dataset.state = connection;
    const words = { online: "Connected", offline: "Offline", connecting: "Connecting" }[connection];
    this.#connection.title = words;
    fill(this.#connection, h("span", { class: "dot" }), h("span", { class: "unseen" }, words));
    const changes = `${waiting} ${waiting === 1 ? "change is" : "changes are"}`;
    this.#banner.hidden = connection !== "offline";
    this.#banner.textContent =
      waiting === 0
        ? "Offline: what you change is kept and sent when the connection is back"
        : `Offline: ${changes} waiting`;
  }

  /** @param {HTMLElement} anchor */
  #openMe(anchor) {
    const status = (/** @type {string} */ name) =>
      store.socket.request("status", { status: name }).catch(() => {});
    openMenu(
      anchor,
      [
        { label: "Online", run: () => status("online") },
        { label: "Away", run: () => status("away") },
        { label: "Busy", run: () => status("busy") },
        "line",
        { label: "Search", hint: "Ctrl K", run: openPalette },
        { label: "Keys", hint: "?", run: showKeys },
        { label: THEME_WORDS[theme()].label, run: nextTheme },
        { label: "Sign out", run: () => session.signOut() },
      ],
      session.name,
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openPalette();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || document.querySelector("dialog"))
      return;
    if (event.key === "?") {
      event.preventDefault();
      showKeys();
    } else if (/^[1-4]$/.test(event.key)) {
      location.hash = `#/${NAVIGATION[Number(event.key) - 1].section}`;
    }
  }
}

customElements.define("sy-shell", Shell);
