"""python-telegram-bot reads and writes."""

import collections
import inspect
import json

import telegram
from telegram.constants import MessageLimit

from samples import ODD, SMILE, URL, marks_of, plain
from shared import SEEN, agree, parsed, render, same, same_words, translated

ENTITIES = {
    "bold": "bold",
    "italic": "italic",
    "underline": "underline",
    "strike": "strikethrough",
    "spoiler": "spoiler",
    "code": "code",
    "codeBlock": "pre",
    "quote": "blockquote",
    "link": "text_link",
    "customEmoji": "custom_emoji",
}
METHODS = {
    "sendMessage": "send_message",
    "editMessageText": "edit_message_text",
    "deleteMessages": "delete_messages",
}


def messages(calls):
    for call in calls:
        method, body = METHODS[call["path"]], call["body"]
        unknown = set(body) - set(inspect.signature(getattr(telegram.Bot, method)).parameters)
        agree(not unknown, method, "does not take", unknown)
        if method == "delete_messages":
            continue
        agree(
            0 < len(body["text"].encode("utf-16-le")) // 2 <= MessageLimit.MAX_TEXT_LENGTH,
            "the length of",
            body,
        )
        agree(len(body["entities"]) <= MessageLimit.MESSAGE_ENTITIES, "the entities of", body)
        user = {"is_bot": False, "first_name": "as Telegram adds it"}
        known = [
            {**one, "user": {**user, **one["user"]}} if "user" in one else one for one in body["entities"]
        ]
        answer = {"message_id": 1, "date": 1, "chat": {"id": -1, "type": "supergroup"}, "entities": known}
        SEEN["python-telegram-bot: messages rendered"] += 1
        yield telegram.Message.de_json({**body, **answer}, None)


def marks(read):
    found = collections.Counter()
    for message in read:
        for entity, words in message.parse_entities().items():
            user = entity.user and entity.user.id
            detail = entity.url or entity.language or entity.custom_emoji_id or user
            agree(words.strip(), "an entity of", repr(words), "in", message.text)
            found[(str(entity.type), plain(words), detail)] += 1
    return found


VARIANTS = [{}, {"replyTo": "5", "thread": "6"}, {"known": ["1", "2", "3"]}]


def judge(what, tree, more):
    read = list(messages(render("telegram", tree, **more)))
    same_words(what, tree, "".join(message.text for message in read))
    found = marks(read)
    agree(not {"mention", "text_mention"} & {kind for kind, _, _ in found}, "a mention of nobody", found)
    if what in ("long code", "long word"):
        agree({kind for kind, _, _ in found} == {"pre" if what == "long code" else "bold"}, found)
    elif what not in ("foreign", "long card"):
        expected = translated(marks_of(tree), ENTITIES)
        for title in (plain(one["text"]) for one in tree if one["type"] == "card"):
            expected.update([("bold", title, None), ("text_link", title, URL)])
        same(what, expected, found)


def mapped(calls, id):
    same("mentions", collections.Counter([("text_mention", "ada", int(id))]), marks(messages(calls)))


def write():
    """The library counts where entities are; the tree must have their words."""
    ours = {theirs: ours for ours, theirs in ENTITIES.items()}
    more = {
        "text_link": {"url": URL},
        "custom_emoji": {"custom_emoji_id": SMILE},
        "pre": {"language": "rust"},
    }
    for odd in ODD:
        said, entities, expected = odd + "\n\n", [], collections.Counter()
        for kind in ENTITIES.values():
            words, detail = f"{odd}{kind}{odd}", more.get(kind, {})
            entities.append(telegram.MessageEntity(kind, len(said), len(words), **detail))
            expected[(ours[kind], words, next(iter(detail.values()), None))] += 1
            said += f"{words} {odd}\n"
        entities = telegram.MessageEntity.adjust_message_entities_to_utf_16(said, entities)
        entities = [entity.to_dict() for entity in entities]
        photo = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}
        fields = {
            "message_id": 5,
            "date": 1,
            "chat": {"id": -100, "type": "supergroup", "title": odd},
            "from": {"id": 7, "is_bot": False, "first_name": odd},
        }
        written = {"text": said, "entities": entities}
        captioned = {"caption": said, "caption_entities": entities, "photo": [photo]}
        for where, body in (
            ("message", written),
            ("message", captioned),
            ("edited_message", written),
            ("channel_post", written),
        ):
            payload = {"update_id": 1, where: {**fields, **body}}
            update = telegram.Update.de_json(payload, None)
            agree(getattr(update, where) is update.effective_message, "no", where, "in", update)
            for again in (payload, json.loads(update.to_json())):
                same(where, expected, marks_of(parsed("telegram", again)["content"]))
                SEEN["python-telegram-bot: updates parsed"] += 1
