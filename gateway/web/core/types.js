// The shapes of PROTOCOL.md, for the type checker only: nothing here runs.

/**
 * @typedef {Record<string, any>} Data
 *
 * @typedef {object} Change  One fact about one entity.
 * @property {string} entity
 * @property {number} seq
 * @property {string} type
 * @property {string} at
 * @property {string} by
 * @property {string} commandId
 * @property {Data} data
 *
 * @typedef {{type: string} & Data} Body  A command's body.
 *
 * @typedef {object} Shared  What every kind's state has.
 * @property {string} title
 * @property {string} createdAt
 * @property {string} createdBy
 * @property {Record<string, string>} members
 * @property {string} [tenantRole]
 *
 * @typedef {object} Column
 * @property {string} id
 * @property {string} title
 * @property {number | null} wip
 * @property {"hard" | "soft"} wipMode
 * @property {string} state
 * @property {string[]} tasks
 *
 * @typedef {{id: string, by: string, at: string, text: string}} Comment
 * @typedef {{id: string, text: string, done: boolean}} ChecklistItem
 * @typedef {{id?: string, name: string, url: string, mediaType?: string | null, size?: number | null}} Attachment
 *
 * @typedef {object} Task
 * @property {string} id
 * @property {string} title
 * @property {string} column
 * @property {string | null} description
 * @property {"low" | "medium" | "high" | "urgent" | null} priority
 * @property {string[]} labels
 * @property {string[]} assignees
 * @property {string | null} due
 * @property {Comment[]} comments
 * @property {ChecklistItem[]} checklist
 * @property {Attachment[]} [attachments]
 * @property {boolean} archived
 *
 * @typedef {Shared & {columns: Column[], tasks: Record<string, Task>, archivedColumns?: {id: string, title: string}[], eventId?: string | null}} BoardState
 *
 * @typedef {object} Node  A node of a message's content.
 * @property {string} type
 * @property {Node[]} [children]
 * @property {string} [text]
 * @property {string} [url]
 * @property {string} [target]
 * @property {string} [language]
 * @property {boolean} [ordered]
 * @property {number} [level]
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {string} author
 * @property {string} at
 * @property {string | null} text
 * @property {Node[] | null} content
 * @property {string | null} replyTo
 * @property {string | null} thread
 * @property {string | null} editedAt
 * @property {boolean} deleted
 * @property {Record<string, string[]>} reactions
 * @property {Attachment[]} attachments
 * @property {{platform: string, author: string} | null} origin
 * @property {boolean} [waiting]  Predicted here, not yet confirmed.
 *
 * @typedef {object} RoomOnly
 * @property {string | null} [topic]
 * @property {string} [access]
 * @property {Message[]} messages
 * @property {number} [kept]  How many messages are kept, where not as many as the server keeps.
 * @property {string[]} pins
 * @property {Record<string, string>} reads
 * @property {Record<string, string | null>} muted
 * @property {string[]} banned
 * @property {string[]} [requests]
 * @property {number} slowMode
 * @property {Data[]} links
 * @typedef {Shared & RoomOnly} RoomState
 *
 * @typedef {object} Participant
 * @property {"yes" | "no" | "maybe" | null} answer
 * @property {string} standing
 * @property {string} role
 * @property {boolean} checkedIn
 * @property {number} [plusOnes]
 *
 * @typedef {object} Session
 * @property {string} id
 * @property {string} title
 * @property {string} start
 * @property {string} end
 * @property {string | null} track
 * @property {string[]} speakers
 * @property {string | null} place
 *
 * @typedef {object} EventOnly
 * @property {string} status
 * @property {string} start
 * @property {string} end
 * @property {string} timeZone
 * @property {string | null} [description]
 * @property {string | null} [place]
 * @property {number | null} capacity
 * @property {boolean} [waitlistEnabled]
 * @property {string | null} [boardId]
 * @property {string | null} [roomId]
 * @property {Record<string, Participant>} participants
 * @property {string[]} waitlist
 * @property {Session[]} sessions
 * @property {(string | {before: string, fired?: boolean})[]} [reminders]
 * @typedef {Shared & EventOnly} EventState
 *
 * @typedef {object} ListItem
 * @property {string} entity
 * @property {string} title
 * @property {number} seq
 * @property {string} createdAt
 * @property {string} updatedAt
 *
 * @typedef {"room" | "board" | "event"} Kind
 * @typedef {"connecting" | "online" | "offline"} Connection
 */

export {};
