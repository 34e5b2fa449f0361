// Times for people, in their own language and zone unless another is asked for.

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {string | Date} at @param {Intl.DateTimeFormatOptions} options */
export function format(at, options) {
  const key = JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    try {
      found = new Intl.DateTimeFormat(undefined, options);
    } catch {
      // A zone that this browser does not know.
      found = new Intl.DateTimeFormat(undefined, { ...options, timeZone: undefined });
    }
    formats.set(key, found);
  }
  const date = typeof at === "string" ? new Date(at) : at;
  return Number.isNaN(date.getTime()) ? String(at) : found.format(date);
}

/** @param {string} at @param {string} [timeZone] */
export function clock(at, timeZone) {
  return format(at, { hour: "numeric", minute: "2-digit", timeZone });
}

/** @param {string} at @returns {string} Always four digits, for narrow places. */
export function shortClock(at) {
  return format(at, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** @param {string | Date} at @param {string} [timeZone] */
export function day(at, timeZone) {
  return format(at, { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone });
}

/** @param {string | Date} at @returns {string} `2026-11-21`, local. */
export function dayKey(at) {
  const date = typeof at === "string" ? new Date(at) : at;
  const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** @param {string} at @returns {string} "Today", "Yesterday", or the date. */
export function dayName(at) {
  const key = dayKey(at);
  if (key === dayKey(new Date())) return "Today";
  if (key === dayKey(new Date(Date.now() - 86_400_000))) return "Yesterday";
  return format(at, { weekday: "long", day: "numeric", month: "long" });
}

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** @param {string} at @returns {string} "3 minutes ago" */
export function ago(at) {
  const seconds = (new Date(at).getTime() - Date.now()) / 1_000;
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return "just now";
}

/** @param {string | Date} at @returns {string} As `datetime-local` inputs want it. */
export function toInput(at) {
  const date = typeof at === "string" ? new Date(at) : at;
  const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${dayKey(date)}T${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

/** @param {string} value Of a `datetime-local` input. @returns {string | null} RFC 3339, UTC. */
export function fromInput(value) {
  const date = new Date(value);
  return value === "" || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** @param {string} start @param {string} end @param {string} [timeZone] */
export function span(start, end, timeZone) {
  const last =
    day(start, timeZone) === day(end, timeZone)
      ? clock(end, timeZone)
      : `${day(end, timeZone)}, ${clock(end, timeZone)}`;
  return `${day(start, timeZone)}, ${clock(start, timeZone)} – ${last}`;
}

/** @param {string} iso `P1D`, `PT90M`. @returns {string} For people. */
export function duration(iso) {
  const match = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(iso);
  if (!match) return iso;
  const names = ["week", "day", "hour", "minute", "second"];
  const parts = names.flatMap((name, place) => {
    const count = Number(match[place + 1] ?? 0);
    return count > 0 ? [`${count} ${name}${count === 1 ? "" : "s"}`] : [];
  });
  return parts.join(" ") || iso;
}
