// Light, dark, high contrast, or as the system says; kept in localStorage.

const KEY = "switchyard.theme";

/** @typedef {"system" | "light" | "dark" | "contrast"} Theme */

/** @type {Theme[]} */
export const THEMES = ["system", "light", "dark", "contrast"];

/** @type {Record<Theme, {label: string, icon: import("../parts/icons.js").IconName}>} */
export const THEME_WORDS = {
  system: { label: "Theme: as the system", icon: "system" },
  light: { label: "Theme: light", icon: "sun" },
  dark: { label: "Theme: dark", icon: "moon" },
  contrast: { label: "Theme: high contrast", icon: "contrast" },
};

const moreContrast = matchMedia("(prefers-contrast: more)");

/** @returns {Theme} */
export function theme() {
  const kept = localStorage.getItem(KEY);
  return THEMES.find((one) => one === kept) ?? "system";
}

/** @param {Theme} chosen */
export function setTheme(chosen) {
  localStorage.setItem(KEY, chosen);
  applyTheme();
  document.dispatchEvent(new Event("switchyard-theme"));
}

export function nextTheme() {
  setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
}

export function applyTheme() {
  const chosen = theme();
  const root = document.documentElement;
  root.dataset.theme = chosen;
  root.dataset.contrast = chosen === "contrast" || moreContrast.matches ? "more" : "normal";
}

moreContrast.addEventListener("change", applyTheme);
