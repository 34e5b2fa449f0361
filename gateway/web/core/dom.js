// Building DOM without markup in strings: whatever a user wrote only ever becomes a text node.

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 * @typedef {object} Special
 * @property {string} [class]
 * @property {string} [testid]
 * @property {Record<string, string>} [data]
 * @property {Record<string, (event: any) => void>} [on]
 * @property {Record<string, string>} [style]  Custom properties and the like, set through the CSSOM.
 * @typedef {Special & Record<string, any>} Props
 */

/**
 * Makes an element. Properties that the element has are set as such, all others as attributes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  set(element, props);
  element.append(...nodes(children));
  return element;
}

/** @param {HTMLElement} element @param {Props} props */
export function set(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "testid") element.dataset.testid = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") listen(element, value);
    else if (name === "style") {
      for (const [key, text] of Object.entries(value)) element.style.setProperty(key, String(text));
    } else if (name.includes("-") || name === "role" || name === "for" || name === "list") {
      element.setAttribute(name, String(value));
    } else if (name in element) /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, String(value));
  }
}

/** @param {HTMLElement} element @param {Record<string, (event: any) => void>} handlers */
function listen(element, handlers) {
  for (const [name, handler] of Object.entries(handlers)) element.addEventListener(name, handler);
}

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function nodes(children) {
  const found = [];
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    found.push(typeof child === "number" ? String(child) : child);
  }
  return found;
}

/** @param {Element} element @param {...(Child | Child[])} children */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/**
 * Makes `parent`'s children those of `wanted`, moving as few as it can.
 * @param {Element} parent
 * @param {Element[]} wanted
 */
export function arrange(parent, wanted) {
  let cursor = parent.firstElementChild;
  for (const element of wanted) {
    if (element === cursor) {
      cursor = cursor.nextElementSibling;
    } else if (cursor && element === cursor.nextElementSibling) {
      // The one at the cursor went elsewhere: take it out instead of moving all that follow.
      const gone = cursor;
      cursor = element.nextElementSibling;
      gone.remove();
    } else {
      parent.insertBefore(element, cursor);
    }
  }
  while (cursor) {
    const extra = cursor;
    cursor = cursor.nextElementSibling;
    extra.remove();
  }
}

/**
 * @param {(...args: any[]) => void} work
 * @param {number} milliseconds
 */
export function throttle(work, milliseconds) {
  let last = 0;
  return (/** @type {any[]} */ ...args) => {
    const now = performance.now();
    if (now - last < milliseconds) return;
    last = now;
    work(...args);
  };
}

/**
 * @param {(...args: any[]) => void} work
 * @param {number} milliseconds
 */
export function debounce(work, milliseconds) {
  let timer = 0;
  return (/** @type {any[]} */ ...args) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => work(...args), milliseconds);
  };
}

/** @param {Event} event @returns {boolean} Whether the keys go into a field. */
export function isTyping(event) {
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
