"""discord.py reads and writes, and discord-markdown-ast-parser reads marks."""

import collections
import re

import discord
from discord_markdown_ast_parser import parse as parse_markdown

from samples import ODD, URL, marks_of, plain, words_of
from shared import SEEN, agree, parsed, render, same, same_words, translated

MARKDOWN = {
    "bold": "BOLD",
    "italic": "ITALIC",
    "underline": "UNDERLINE",
    "strike": "STRIKETHROUGH",
    "spoiler": "SPOILER",
    "code": "CODE_INLINE",
    "codeBlock": "CODE_BLOCK",
    "quote": "QUOTE_BLOCK",
}


def bodies_of(calls):
    for body in (call["body"] for call in calls if call["body"] is not None):
        embeds = [discord.Embed.from_dict(one) for one in body.get("embeds", [])]
        agree(len(body["content"]) <= 2000 and (body["content"].strip() or embeds), "the length of", body)
        agree(
            len(embeds) <= 10 and sum(map(len, embeds)) <= 6000,
            len(embeds),
            "embeds, letters:",
            sum(map(len, embeds)),
        )
        for one, embed in zip(body.get("embeds", []), embeds, strict=True):
            agree({"flags": 0, **one} == {"flags": 0, **embed.to_dict()}, one, "is read as", embed.to_dict())
            agree(
                len(embed.title or "") <= 256 and len(embed.description or "") <= 4096, "the length of", one
            )
        mentions = body["allowed_mentions"]
        users = [discord.Object(id) for id in mentions["users"]]
        allowed = discord.AllowedMentions(
            everyone=False, roles=False, users=users, replied_user=False
        ).to_dict()
        said = {**mentions, "users": [int(id) for id in mentions["users"]]}
        agree({"users": [], "replied_user": False, **allowed} == said, mentions, "would be", allowed)
        SEEN["discord.py: messages rendered"] += 1
        yield body


def raw_mentions(content):
    """What the library finds in a message, and of what it would escape the words for all."""
    message = discord.Message.__new__(discord.Message)
    message.content = content
    users, rest = message.raw_mentions, message.raw_role_mentions + message.raw_channel_mentions
    escaped = discord.utils.escape_mentions(content)
    return users, rest + re.findall("@\u200b(?:everyone|here)", escaped if escaped != content else "")


def markdown_marks(nodes):
    found = collections.Counter()
    for one in nodes:
        inside = one.children or []
        found[(one.node_type.name, plain(markdown_words(inside)).strip("\n"), one.code_lang)] += 1
        found += markdown_marks(inside)
    return found


def markdown_words(nodes):
    return "".join((one.text_content or "") + markdown_words(one.children or []) for one in nodes)


VARIANTS = [
    {"webhook": "1/token", "author": "Ada"},
    {"replyTo": "80351110224678912"},
    {"known": ["1", "2", "3"]},
]


def judge(what, tree, more):
    bodies = list(bodies_of(render("discord", tree, **more)))
    said = "".join(body["content"] for body in bodies)
    cards = [
        one.get("title", "") + one.get("description", "") for body in bodies for one in body.get("embeds", [])
    ]
    for content in (said, *cards):
        agree(raw_mentions(content) == ([], []), raw_mentions(content), "in", content)
    agree(not any(body["allowed_mentions"]["users"] for body in bodies), "a mention of nobody")
    if "\\" not in words_of(tree):
        texts, apart = (
            [one for one in tree if one["type"] != "card"],
            [one for one in tree if one["type"] == "card"],
        )
        same_words(what, texts + apart, re.sub(r"\\(?=[\\*_~|`<\[\]>#+.-])", "", said + "".join(cards)))
    if what in ("marks", "code block", "quote", "long"):
        found = markdown_marks(parse_markdown(said))
        found = collections.Counter(
            {key: count for key, count in found.items() if key[0] in MARKDOWN.values()}
        )
        same(what, translated(marks_of(tree), MARKDOWN), found)
    if what == "emoji":
        emoji = discord.PartialEmoji.from_str(re.search("<a?:[^>]*>", said)[0])
        agree((emoji.name, emoji.id) == ("party", 41771983429993937), "no custom emoji in", said)


def mapped(calls, id):
    [body] = bodies_of(calls)
    agree(
        raw_mentions(body["content"]) == ([int(id)], []) and body["allowed_mentions"]["users"] == [id], body
    )


def write():
    for odd in ODD:
        embed = discord.Embed(title=f"T {odd}", url=URL, description=f"**{odd}**")
        embed.add_field(name=f"name {odd}", value=odd).set_footer(text=f"foot {odd}").set_author(
            name=f"author {odd}"
        )
        said = f"{odd} *no* __no__ ~~no~~ `no` <@1"
        data = {
            "id": "9",
            "channel_id": "3",
            "guild_id": "1",
            "author": {"id": "5", "username": "ada"},
            "content": discord.utils.escape_markdown(said),
            "embeds": [embed.to_dict()],
        }
        read = parsed("discord", {"op": 0, "s": 3, "t": "MESSAGE_CREATE", "d": data})["content"]
        cards = [one for one in read if one["type"] == "card"]
        agree(words_of([one for one in read if one["type"] != "card"]) == said, said, "is read as", read)
        agree(
            [(card["text"], card["url"]) for card in cards] == [(f"T {odd}", URL)],
            "an embed is read as",
            cards,
        )
        agree(marks_of(cards)[("bold", odd, None)] == 1, "an embed is read as", cards)
        for words in (f"author {odd}", f"name {odd}", f"foot {odd}"):
            agree(words in words_of(cards), words, "is not in", cards)
        SEEN["discord.py: messages parsed"] += 1
