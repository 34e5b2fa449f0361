// Modal dialogs, and the small forms that ask for a few values.

import { h } from "../core/dom.js";
import { icon } from "./icons.js";

/**
 * @param {string} title
 * @param {(import("../core/dom.js").Child | import("../core/dom.js").Child[])[]} content
 * @param {{wide?: boolean, onClose?: () => void, bare?: boolean}} [options]
 * @returns {HTMLDialogElement}
 */
export function openDialog(title, content, { wide, onClose, bare } = {}) {
  const close = h(
    "button",
    {
      class: "icon-button",
      "aria-label": "Close",
      type: "button",
      on: { click: () => dialog.close() },
    },
    icon("close"),
  );
  const head = !bare && h("header", { class: "dialog-head" }, h("h2", {}, title), close);
  const dialog = h("dialog", { class: wide ? "wide" : "", "aria-label": title }, head, ...content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose?.();
  });
  dialog.addEventListener("pointerdown", (event) => {
    // The backdrop is the dialog itself, outside of its box.
    if (event.target === dialog && isOutside(dialog, event)) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** @param {HTMLElement} element @param {PointerEvent} event */
function isOutside(element, { clientX: x, clientY: y }) {
  const { left, right, top, bottom } = element.getBoundingClientRect();
  return x < left || x > right || y < top || y > bottom;
}

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {string} [type] As of an input, or "textarea", or "select".
 * @property {string} [value]
 * @property {boolean} [required]
 * @property {string} [hint]
 * @property {[string, string][]} [options] Value and label.
 * @property {string} [testid]
 * @property {string} [placeholder]
 * @property {boolean} [half] Stands beside another.
 */

/**
 * Asks for a few values.
 * @param {{title: string, fields: Field[], submit: string, submitTestid?: string, danger?: boolean, note?: string}} form
 * @returns {Promise<Record<string, string> | null>} Null if it was closed.
 */
export function ask({ title, fields, submit, submitTestid, danger, note }) {
  return new Promise((resolve) => {
    /** @type {Record<string, string> | null} */
    let answer = null;
    const inputs = fields.map((field) => control(field));
    const labels = fields.map((field, place) =>
      h(
        "label",
        { class: field.half ? "field half" : "field" },
        h("span", {}, field.label),
        inputs[place],
        field.hint && h("small", {}, field.hint),
      ),
    );
    const buttons = h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", class: "button quiet", on: { click: () => dialog.close() } }, "Cancel"),
      h(
        "button",
        { type: "submit", class: danger ? "button danger" : "button", testid: submitTestid },
        submit,
      ),
    );
    const form = h(
      "form",
      {
        class: "form",
        on: {
          submit: (/** @type {Event} */ event) => {
            event.preventDefault();
            answer = Object.fromEntries(fields.map(({ name }, place) => [name, inputs[place].value.trim()]));
            dialog.close();
          },
        },
      },
      note && h("p", { class: "muted" }, note),
      ...labels,
      buttons,
    );
    const dialog = openDialog(title, [form], { onClose: () => resolve(answer) });
    (inputs[0] ?? buttons.lastElementChild)?.focus();
  });
}

/** @param {Field} field */
function control({ name, type = "text", value = "", required, options, testid, placeholder }) {
  const common = { name, testid, required: required ?? false };
  if (type === "textarea")
    return h("textarea", { ...common, value, rows: 4, placeholder: placeholder ?? "" });
  if (type !== "select")
    return h("input", { ...common, type, value, placeholder: placeholder ?? "", autocomplete: "off" });
  const choices = (options ?? []).map(([key, label]) =>
    h("option", { value: key, selected: key === value }, label),
  );
  return h("select", common, ...choices);
}

/** @param {string} title @param {string} note @param {string} submit */
export async function confirmDanger(title, note, submit) {
  return (await ask({ title, note, fields: [], submit, danger: true })) !== null;
}
