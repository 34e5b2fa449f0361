"""botbuilder-schema reads and writes; Beautiful Soup and the schema of Adaptive Cards read."""

import collections
import importlib.resources
import json
import re

import adaptive_cards
from adaptive_cards.card import AdaptiveCard, TextBlock
from botbuilder.schema import Activity, Mention
from botframework.connector.operations import ConversationsOperations
from bs4 import BeautifulSoup
from jsonschema import Draft6Validator

from samples import ODD, marks_of
from shared import SEEN, agree, parsed, render, same, same_words, translated

CARD = "application/vnd.microsoft.card.adaptive"
TAGS = {
    "bold": "b",
    "italic": "i",
    "underline": "u",
    "strike": "s",
    "code": "code",
    "codeBlock": "pre",
    "quote": "blockquote",
    "link": "a",
}
SCHEMA = json.loads(importlib.resources.files(adaptive_cards).joinpath("schemas/schema-1.4.json").read_text())
ROUTES = {"POST": "send_to_conversation", "PUT": "update_activity", "DELETE": "delete_activity"}


def activities_of(calls):
    for call in calls:
        route = getattr(ConversationsOperations, ROUTES[call["method"]]).metadata["url"]
        agree(
            re.fullmatch(re.sub("{[^}]*}", "[^/?#]+", route), "/" + call["path"]),
            call["path"],
            "is not",
            route,
        )
        if call["body"] is None:
            continue
        activity = Activity().deserialize(call["body"])
        entities = [Mention().deserialize(entity).serialize() for entity in call["body"].get("entities", [])]
        again = {**activity.serialize(), **({"entities": entities} if entities else {})}
        agree(not activity.validate() and again == call["body"], call["body"], "is read as", again)
        # "100 KB is an approximate limit because it includes … encoded as UTF-16" (Format your bot messages).
        size = len(json.dumps(call["body"], ensure_ascii=False).encode("utf-16-le"))
        agree(size <= 100_000, "an activity of", size, "bytes:", str(call["body"])[:200])
        for attachment in activity.attachments or []:
            agree(attachment.content_type == CARD, "a card is", attachment.content_type)
            problem = next(Draft6Validator(SCHEMA).iter_errors(attachment.content), None)
            agree(problem is None, "a card:", problem)
            AdaptiveCard.model_validate(attachment.content)
            SEEN["adaptive-cards-py: cards rendered"] += 1
        SEEN["botbuilder-schema: activities rendered"] += 1
        yield activity


def marks(activity):
    found = collections.Counter()
    page = BeautifulSoup(activity.text or "", "html.parser")
    for tag in page.find_all(list(TAGS.values())):
        if tag.parent.name != "pre":
            language = tag.name == "pre" and tag.code.get("class", [""])[0].removeprefix("language-")
            found[(tag.name, tag.get_text(), tag.get("href") or language or None)] += 1
    return page.get_text(), found


VARIANTS = [{"author": "Ada"}, {"thread": "5", "replyTo": "6"}, {"known": ["1", "2", "3"]}]


def judge(what, tree, more):
    activities = list(activities_of(render("teams", tree, **more)))
    for said in (activity.serialize() for activity in activities):
        agree("entities" not in said and "<at" not in str(said), "a mention of nobody in", said)
    read = [marks(activity) for activity in activities]
    same_words(what, [one for one in tree if one["type"] != "card"], "".join(words for words, _ in read))
    found = sum((found for _, found in read), collections.Counter())
    found -= {("b", "Ada:", None): 1} if "author" in more else {}
    if what not in ("card", "many cards", "long card", "long code", "long word", "foreign"):
        same(what, translated(marks_of(tree), TAGS), found)


def mapped(calls, id):
    [activity] = activities_of(calls)
    [mention] = [Mention().deserialize(entity) for entity in calls[0]["body"]["entities"]]
    agree((mention.type, mention.mentioned.id) == ("mention", id), mention)
    agree(activity.text.count(mention.text) == 1, mention.text, "is not once in", activity.text)


def write():
    for odd in ODD:
        blocks = [TextBlock(text=f"T {odd}", weight="bolder"), TextBlock(text=f"**{odd}**")]
        card = AdaptiveCard(version="1.4", body=blocks).model_dump(
            mode="json", by_alias=True, exclude_none=True
        )
        sent = {
            "type": "message",
            "id": "2",
            "from": {"id": "29:2", "name": odd},
            "recipient": {"id": "28:b"},
            "conversation": {"id": "19:c@thread.tacv2", "tenantId": "T", "conversationType": "channel"},
            "channelId": "msteams",
            "text": f"<p>{odd} <b>b{odd}</b></p>",
            "attachments": [{"contentType": CARD, "content": card}],
        }
        read = parsed("teams", Activity().deserialize(sent).serialize())
        expected = collections.Counter([("bold", f"b{odd}", None), ("bold", odd, None)])
        same("an activity", expected, marks_of(read["content"]))
        cards = [one["text"] for one in read["content"] if one["type"] == "card"]
        agree((read["author"]["name"], cards) == (odd, [f"T {odd}"]), "an activity is read as", read)
        SEEN["botbuilder-schema: activities parsed"] += 1
