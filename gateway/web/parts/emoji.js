// The few emoji that the picker offers and the names that messages use most.

/** What the reaction picker shows, by name. */
export const PICKER = [
  "thumbsup",
  "heart",
  "tada",
  "laughing",
  "eyes",
  "rocket",
  "white_check_mark",
  "thinking",
];

/** @type {Record<string, string>} */
const BY_NAME = {
  thumbsup: "👍",
  "+1": "👍",
  thumbsdown: "👎",
  "-1": "👎",
  heart: "❤️",
  tada: "🎉",
  laughing: "😆",
  joy: "😂",
  smile: "😄",
  slightly_smiling_face: "🙂",
  wink: "😉",
  eyes: "👀",
  rocket: "🚀",
  white_check_mark: "✅",
  heavy_check_mark: "✔️",
  x: "❌",
  thinking: "🤔",
  thinking_face: "🤔",
  fire: "🔥",
  clap: "👏",
  pray: "🙏",
  wave: "👋",
  100: "💯",
  bug: "🐛",
  warning: "⚠️",
  sob: "😭",
  cry: "😢",
  ok_hand: "👌",
  raised_hands: "🙌",
  sparkles: "✨",
  star: "⭐",
  coffee: "☕",
  party_popper: "🎉",
  muscle: "💪",
};

/** @param {string} name A name, or the character itself. @returns {string | null} */
export function emojiOf(name) {
  const bare = name.replace(/^:|:$/g, "");
  if (Object.hasOwn(BY_NAME, bare)) return BY_NAME[bare];
  return /\p{Extended_Pictographic}/u.test(name) ? name : null;
}
