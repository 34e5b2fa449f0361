// The page's own line icons, drawn on a grid of 20.

const PATHS = {
  room: "M3.5 5.5a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H9l-3.5 3v-3a2 2 0 0 1-2-2z",
  board: "M3.5 4.5h3.6v11H3.5zM8.2 4.5h3.6v7.5H8.2zM12.9 4.5h3.6v9.2h-3.6z",
  event:
    "M3.5 6a1.5 1.5 0 0 1 1.5-1.5h10A1.5 1.5 0 0 1 16.5 6v9a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 15zM3.5 8.5h13M7 2.8v3M13 2.8v3",
  status: "M2.5 10.5h3l2-5.5 4 10.5 2.5-7 1 2h2.5",
  plus: "M10 4.5v11M4.5 10h11",
  close: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  search: "M8.8 3.8a5 5 0 1 1 0 10 5 5 0 0 1 0-10zM12.6 12.6l3.8 3.8",
  back: "M12 4.5 6.5 10l5.5 5.5",
  next: "M8 4.5l5.5 5.5L8 15.5",
  undo: "M7.5 4.5 4 8l3.5 3.5M4.4 8h7.1a4 4 0 0 1 0 8H8.5",
  sun: "M10 6.6a3.4 3.4 0 1 1 0 6.8 3.4 3.4 0 0 1 0-6.8zM10 2.3v1.6M10 16.1v1.6M2.3 10h1.6M16.1 10h1.6M4.6 4.6l1.1 1.1M14.3 14.3l1.1 1.1M15.4 4.6l-1.1 1.1M5.7 14.3l-1.1 1.1",
  moon: "M16.3 11.6A6.8 6.8 0 0 1 8.4 3.7a6.8 6.8 0 1 0 7.9 7.9z",
  contrast: "M10 3a7 7 0 1 1 0 14zM10 3a7 7 0 0 0 0 14",
  system: "M3 4.5h14v9H3zM7.5 16.5h5",
  people:
    "M7.3 4.2a2.7 2.7 0 1 1 0 5.4 2.7 2.7 0 0 1 0-5.4zM2.5 16c.3-2.9 2.2-4.4 4.8-4.4s4.5 1.5 4.8 4.4M13 5a2.3 2.3 0 1 1 0 4.6M14.3 11.7c1.9.5 3 1.9 3.2 4.3",
  pin: "M7.5 3.5h5l-.7 5 2.7 2.5v1.5h-9V11L8.2 8.5zM10 12.5v4.5",
  reply: "M8 5 3.8 9.2 8 13.4M4.2 9.2H11a5 5 0 0 1 5 5v1.3",
  thread: "M4 4.5h12M4 8.5h12M8 12.5h8M8 16h5M4.5 11v2.5a2 2 0 0 0 2 2",
  edit: "M4 16l.7-3.2L13 4.5 15.5 7l-8.3 8.3zM11.5 6 14 8.5",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.7 10.5h7.6L14.5 6M8.5 9v4.5M11.5 9v4.5",
  smile: "M10 3a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM7 11.6c.7 1.3 1.7 2 3 2s2.3-.7 3-2M7.7 7.8v.6M12.3 7.8v.6",
  send: "M3.5 10 16.5 4l-4 12.5-3-5zM9.5 11.5l7-7.5",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
  clock: "M10 3a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM10 6v4.3l2.8 1.7",
  place:
    "M10 2.8a5 5 0 0 1 5 5c0 3.6-5 9.4-5 9.4S5 11.4 5 7.8a5 5 0 0 1 5-5zM10 6.2a1.7 1.7 0 1 1 0 3.4 1.7 1.7 0 0 1 0-3.4z",
  archive: "M3.5 4.5h13v3h-13zM4.5 7.5v8h11v-8M8 10.5h4",
  keys: "M3 5.5h14v9H3zM5.8 8.3h.5M8.6 8.3h.5M11.4 8.3h.5M14.2 8.3h.2M6.5 11.7h7",
  out: "M8 4H4.5v12H8M8 10h8.5M13 6.5l3.5 3.5-3.5 3.5",
  more: "M4.6 10a.4.4 0 1 0 .8 0 .4.4 0 1 0-.8 0zM9.6 10a.4.4 0 1 0 .8 0 .4.4 0 1 0-.8 0zM14.6 10a.4.4 0 1 0 .8 0 .4.4 0 1 0-.8 0z",
  comment: "M4 4.5h12v8.5H9.5L6.5 16v-3H4z",
  list: "M8 5.5h8.5M8 10h8.5M8 14.5h8.5M3.5 5.5h1M3.5 10h1M3.5 14.5h1",
  calendar: "M3.5 4.5h13v12h-13zM3.5 8.5h13M7.8 8.5v8M12.2 8.5v8M3.5 12.5h13",
  bell: "M10 3.2a4.2 4.2 0 0 1 4.2 4.2c0 4 1.8 5.6 1.8 5.6H4s1.8-1.6 1.8-5.6A4.2 4.2 0 0 1 10 3.2zM8.5 15.8a1.7 1.7 0 0 0 3 0",
  file: "M5.5 3h6l3.5 3.5V17h-9.5zM11.5 3v3.5H15",
};

/** @typedef {keyof typeof PATHS} IconName */

/** @param {IconName} name @returns {SVGSVGElement} */
export function icon(name) {
  return svg(PATHS[name], "icon");
}

/** Two tracks that part: the mark of a switchyard. @returns {SVGSVGElement} */
export function mark() {
  const drawing = svg("M6 17.5V2.5M6 15c0-5.5 8.5-4.5 8.5-10V2.5", "mark");
  return drawing;
}

/** @param {string} path @param {string} kind */
function svg(path, kind) {
  const root = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  root.setAttribute("viewBox", "0 0 20 20");
  root.setAttribute("aria-hidden", "true");
  root.classList.add(kind);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  root.append(line);
  return root;
}
