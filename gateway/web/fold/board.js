// A board's state from its changes, and what a command will probably change.

import { applyMember, fieldsOf, placedAfter, without } from "./shared.js";

/**
 * @typedef {import("../core/types.js").BoardState} State
 * @typedef {import("../core/types.js").Column} Column
 * @typedef {import("../core/types.js").Task} Task
 * @typedef {import("../core/live.js").Fact} Fact
 */

/** @type {Partial<Record<string, any>>} What null means in `taskUpdated`, where not null. */
const CLEARED = { labels: [], assignees: [], attachments: [], customFields: [] };

/** @param {State} state @param {Fact} fact @returns {State} */
export function apply(state, fact) {
  const { type, data } = fact;
  switch (type) {
    case "boardUpdated":
      return { ...state, ...data.fields };
    case "columnAdded": {
      const { column: id, title, wip = null, wipMode = "hard", state: workflow = id, after } = data;
      /** @type {Column} */
      const column = { id, title, wip, wipMode, state: workflow, tasks: [] };
      return withColumnAfter({ ...state, columns: [...state.columns, column] }, id, after);
    }
    case "columnUpdated":
      return withColumn(state, data.column, (column) => ({ ...column, ...data.fields }));
    case "columnMoved":
      return withColumnAfter(state, data.column, data.after);
    case "columnArchived":
    case "columnRemoved":
      return columnGone(state, data.column, type === "columnArchived");
    case "columnRestored":
      return columnRestored(state, data);
    case "taskAdded":
      return taskAdded(state, data);
    case "taskMoved":
      return placed(withTask(state, data.task, { column: data.to }), data.task, data.to, data.after);
    case "taskUpdated":
      return withTask(state, data.task, cleared(data.fields));
    case "taskArchived":
      return lifted(withTask(state, data.task, { archived: true }), data.task);
    case "taskRestored": {
      const restored = withTask(state, data.task, { archived: false, column: data.column });
      return placed(restored, data.task, data.column, data.after);
    }
    case "taskDeleted":
      return { ...lifted(state, data.task), tasks: without(state.tasks, data.task) };
    case "transitionsSet":
      return state;
    default:
      return inTask(state, fact) ?? applyMember(state, fact) ?? state;
  }
}

/** @param {State} state @param {Fact} fact @returns {State | null} */
function inTask(state, { type, data, by, at }) {
  const task = state.tasks[data.task];
  if (!task) return null;
  const { comments, checklist } = task;
  switch (type) {
    case "commentAdded": {
      const comment = { id: data.comment, by, at, text: data.text };
      return withTask(state, task.id, { comments: [...comments, comment] });
    }
    case "commentRemoved":
      return withTask(state, task.id, { comments: comments.filter((one) => one.id !== data.comment) });
    case "checklistItemAdded": {
      const item = { id: data.item, text: data.text, done: false };
      return withTask(state, task.id, { checklist: [...checklist, item] });
    }
    case "checklistItemSet": {
      const set = checklist.map((one) => (one.id === data.item ? { ...one, done: data.done } : one));
      return withTask(state, task.id, { checklist: set });
    }
    case "checklistItemRemoved":
      return withTask(state, task.id, { checklist: checklist.filter((one) => one.id !== data.item) });
    default:
      return null;
  }
}

/** @param {State} state @param {any} data @returns {State} */
function taskAdded(state, data) {
  const { after, task: id, ...fields } = data;
  /** @type {Task} */
  const task = {
    description: null,
    priority: null,
    labels: [],
    assignees: [],
    due: null,
    comments: [],
    checklist: [],
    attachments: [],
    archived: false,
    ...fields,
    id,
  };
  return placed({ ...state, tasks: { ...state.tasks, [id]: task } }, id, task.column, after);
}

/** @param {State} state @param {string} id @param {(column: Column) => Column} change */
function withColumn(state, id, change) {
  return { ...state, columns: state.columns.map((one) => (one.id === id ? change(one) : one)) };
}

/** @param {State} state @param {string} id @param {string | null} after @returns {State} */
function withColumnAfter(state, id, after) {
  const column = state.columns.find((one) => one.id === id);
  if (!column) return state;
  const before = after === null ? null : (state.columns.find((one) => one.id === after) ?? column);
  return { ...state, columns: placedAfter(state.columns, before, column) };
}

/** @param {State} state @param {string} id @param {boolean} kept @returns {State} */
function columnGone(state, id, kept) {
  const gone = state.columns.find((one) => one.id === id);
  const archived = state.archivedColumns ?? [];
  return {
    ...state,
    columns: state.columns.filter((one) => one.id !== id),
    archivedColumns: kept && gone ? [...archived, { id, title: gone.title }] : archived,
  };
}

/** @param {State} state @param {any} data @returns {State} */
function columnRestored(state, { column: id, after }) {
  const archived = state.archivedColumns ?? [];
  const title = archived.find((one) => one.id === id)?.title ?? id;
  /** @type {Column} */
  const column = { id, title, wip: null, wipMode: "hard", state: id, tasks: [] };
  const columns = [...state.columns, column];
  const archivedColumns = archived.filter((one) => one.id !== id);
  return withColumnAfter({ ...state, columns, archivedColumns }, id, after);
}

/** @param {State} state @param {string} id @param {Partial<Task>} fields @returns {State} */
function withTask(state, id, fields) {
  const task = state.tasks[id];
  if (!task) return state;
  return { ...state, tasks: { ...state.tasks, [id]: { ...task, ...fields } } };
}

/** Takes a task out of its column. @param {State} state @param {string} id @returns {State} */
function lifted(state, id) {
  const columns = state.columns.map((one) =>
    one.tasks.includes(id) ? { ...one, tasks: one.tasks.filter((other) => other !== id) } : one,
  );
  return { ...state, columns };
}

/** @param {State} state @param {string} id @param {string} to @param {string | null} after */
function placed(state, id, to, after) {
  return withColumn(lifted(state, id), to, (column) => ({
    ...column,
    tasks: placedAfter(column.tasks, after, id),
  }));
}

/** @param {Record<string, any>} fields */
function cleared(fields) {
  const entries = Object.entries(fields);
  return Object.fromEntries(entries.map(([name, value]) => [name, value ?? CLEARED[name] ?? null]));
}

/**
 * @param {State} state
 * @param {import("../core/types.js").Body} body
 * @returns {{type: string, data: any}[]}
 */
export function predict(state, body) {
  const task = state.tasks[body.task];
  switch (body.type) {
    case "updateBoard":
      return [{ type: "boardUpdated", data: { fields: fieldsOf(body) } }];
    case "addColumn": {
      const after = body.after === undefined ? (state.columns.at(-1)?.id ?? null) : body.after;
      return [{ type: "columnAdded", data: { ...fieldsOf(body), after } }];
    }
    case "updateColumn":
      return [{ type: "columnUpdated", data: { column: body.column, fields: fieldsOf(body, "column") } }];
    case "moveColumn":
      return [{ type: "columnMoved", data: fieldsOf(body) }];
    case "addTask": {
      const column = state.columns.find((one) => one.id === body.column) ?? state.columns[0];
      if (!column || !body.task) return [];
      const after = body.after === undefined ? (column.tasks.at(-1) ?? null) : body.after;
      return [{ type: "taskAdded", data: { ...fieldsOf(body), column: column.id, after } }];
    }
    case "updateTask":
      return task ? [{ type: "taskUpdated", data: { task: task.id, fields: fieldsOf(body, "task") } }] : [];
    case "moveTask": {
      if (!task) return [];
      const data = { task: task.id, from: task.column, to: body.column, after: body.after ?? null };
      return [{ type: "taskMoved", data }];
    }
    case "restoreTask": {
      const column = state.columns.find((one) => one.id === task?.column) ?? state.columns[0];
      if (!task || !column) return [];
      const data = { task: task.id, column: column.id, after: column.tasks.at(-1) ?? null };
      return [{ type: "taskRestored", data }];
    }
    case "archiveTask":
      return [{ type: "taskArchived", data: fieldsOf(body) }];
    case "deleteTask":
      return [{ type: "taskDeleted", data: fieldsOf(body) }];
    case "addComment":
      return [{ type: "commentAdded", data: fieldsOf(body) }];
    case "addChecklistItem":
      return [{ type: "checklistItemAdded", data: fieldsOf(body) }];
    case "setChecklistItem":
      return [{ type: "checklistItemSet", data: fieldsOf(body) }];
    default:
      return [];
  }
}
