"""slack_sdk reads and writes."""

import collections
import inspect
import re

import slack_sdk
from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block, RichTextBlock, RichTextElementParts, RichTextSectionElement
from slack_sdk.signature import SignatureVerifier

from samples import ODD, URL, marks_of
from shared import SEEN, agree, parsed, render, same, same_words, translated

STYLES = {kind: kind for kind in ("bold", "italic", "underline", "strike", "code", "link")}
MENTIONS = {"user", "usergroup", "broadcast", "channel", "team"}


def blocks(calls):
    """All blocks, each as the library reads it."""
    for call in calls:
        method, body = call["path"].replace(".", "_"), call["body"]
        unknown = set(body) - set(inspect.signature(getattr(slack_sdk.WebClient, method)).parameters)
        agree(not unknown, method, "does not take", unknown)
        if method == "chat_delete":
            continue
        agree(
            0 < len(body["text"]) <= 40_000 and not re.search("<[^>]*>", body["text"]),
            "the text",
            body["text"],
        )
        top, attached = body.get("blocks", []), body.get("attachments", [])
        agree(len(top) <= 50 and len(attached) <= 100, "too many blocks or attachments")
        for one in attached:
            BlockAttachment(blocks=Block.parse_all(one["blocks"]), fallback=one["fallback"]).validate_json()
        for block in [*top, *(block for one in attached for block in one["blocks"])]:
            # The one thing that the library does not know.
            for code in (one for one in block["elements"] if one["type"] == "rich_text_preformatted"):
                code.pop("language", None)
            read = Block.parse(block)
            agree(isinstance(read, RichTextBlock), "no block of", block)
            agree(read.to_dict() == block, block, "is read as", read.to_dict())
            SEEN["slack_sdk: blocks rendered"] += 1
            yield read.to_dict()


def elements_of(tree):
    for one in tree:
        yield from elements_of(one["elements"]) if "elements" in one else [one]


def marks(elements):
    found = collections.Counter()
    for one in elements:
        words = one.get("text", "")
        agree(one["type"] != "text" or words, "an empty text")
        kinds = [*one.get("style", {}), *({one["type"]} - {"text", "emoji"})]
        found.update((kind, words, one.get("url") or one.get("user_id")) for kind in kinds)
    return found


VARIANTS = [{"author": "Ada", "thread": "1.0"}, {"known": ["1", "2", "3"]}]


def judge(what, tree, more):
    elements = list(elements_of(blocks(render("slack", tree, **more))))
    same_words(what, tree, "".join(one.get("text", "") for one in elements))
    found = marks(elements)
    agree(not MENTIONS & {kind for kind, _, _ in found}, "a mention of nobody", found)
    if what in ("marks", "adjacent", "code block", "list", "long", "quote"):
        same(what, translated(marks_of(tree), STYLES), found)


def mapped(calls, id):
    same("mentions", collections.Counter([("user", "", id)]), marks(elements_of(blocks(calls))))


def signature(secret, timestamp, body):
    return SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)


def write():
    parts = RichTextElementParts
    for odd in ODD:
        inside, expected = [parts.Text(text=odd + " ")], collections.Counter()
        for style in ("bold", "italic", "strike", "underline", "code"):
            inside.append(parts.Text(text=f"{odd}{style}", style=parts.TextStyle(**{style: True})))
            inside.append(parts.Text(text=f" {odd} "))
            expected[(style, f"{odd}{style}", None)] += 1
        inside.append(parts.Link(url=URL, text=f"{odd} link"))
        expected[("link", f"{odd} link", URL)] += 1
        block = RichTextBlock(elements=[RichTextSectionElement(elements=inside)]).to_dict()
        event = {
            "type": "message",
            "channel": "C1",
            "user": "U1",
            "ts": "1.0",
            "text": odd,
            "blocks": [block],
        }
        payload = {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event}
        same("blocks", expected, marks_of(parsed("slack", payload)["content"]))
        SEEN["slack_sdk: events parsed"] += 1
