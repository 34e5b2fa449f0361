// Five windows on one conversation: the room itself, and what each simulated platform shows.
// @ts-check

const WINDOWS = [
  { name: "room", title: "Switchyard", color: "#37474f" },
  { name: "slack", title: "Slack", color: "#4a154b" },
  { name: "teams", title: "Microsoft Teams", color: "#4b53bc" },
  { name: "discord", title: "Discord", color: "#5865f2" },
  { name: "telegram", title: "Telegram", color: "#2481cc" },
];

/** @typedef {{id: string, author: string, text: string, deleted: boolean, edited: boolean, reactions: string[], own: boolean}} Message */

/** @param {string} tag @param {Record<string, any>} [props] @param {(Node | string)[]} children */
function h(tag, props = {}, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
}

/** @param {string} what @param {object} body */
async function act(what, body) {
  const answer = await fetch(`/demo/${what}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) alert(await answer.text());
  await refresh();
}

/** @param {string} window @param {Message} message */
function item(window, message) {
  const reactions = message.reactions.length ? ` ${message.reactions.join(" ")}` : "";
  const children = [h("strong", {}, `${message.author} `), message.text, h("small", {}, reactions)];
  if (message.edited && !message.deleted) children.push(h("small", {}, " (edited)"));
  if (message.own && !message.deleted) {
    const edit = () => {
      const text = prompt("What it says now", message.text);
      if (text) act("edit", { window, id: message.id, text });
    };
    const take = () => act("delete", { window, id: message.id });
    children.push(h("button", { onclick: edit }, "edit"));
    if (window !== "telegram") children.push(h("button", { onclick: take }, "delete"));
  }
  return h("li", { className: message.deleted ? "gone" : "" }, ...children);
}

const lists = new Map();
for (const { name, title, color } of WINDOWS) {
  const list = h("ol");
  const input = /** @type {HTMLInputElement} */ (h("input", { placeholder: "Write", required: true }));
  input.setAttribute("aria-label", `Write in ${title}`);
  const form = h("form", {}, input);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("say", { window: name, text: input.value });
    input.value = "";
  });
  const heading = h("h2", {}, title);
  heading.style.background = color;
  document.querySelector("main")?.append(h("section", {}, heading, list, form));
  lists.set(name, { list, shown: "" });
}

async function refresh() {
  const answer = await fetch("/demo/windows");
  if (!answer.ok) return;
  for (const [name, messages] of Object.entries(await answer.json())) {
    const window = lists.get(name);
    const shown = JSON.stringify(messages);
    if (!window || window.shown === shown) continue;
    window.shown = shown;
    window.list.replaceChildren(...messages.map((/** @type {Message} */ message) => item(name, message)));
    window.list.scrollTop = window.list.scrollHeight;
  }
}

refresh();
setInterval(refresh, 500);
