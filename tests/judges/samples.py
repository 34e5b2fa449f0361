"""The messages that the judges are shown, as trees, and what a tree says and marks."""

import collections
import re

URL = "https://example.org/a_b?c=d&e=f"
PARTY = "https://cdn.discordapp.com/emojis/41771983429993937.webp"
SMILE = "5368324170671202286"
# Outside the basic plane, joined, combined, of two letters, from right to left.
ODD = ["👩‍🚀", "e\u0301Z\u0351\u036b", "🇩🇪👍🏽", "𝒳क्षि", "\u200fשלום مرحبا\u200f"]
MARKS = ["bold", "italic", "underline", "strike", "spoiler"]
# What others write mentions nobody.
FOREIGN = [
    "@everyone",
    "@here",
    "<@80351110224678912>",
    "<@!80351110224678912>",
    "<@&80351110224678912>",
    "<#80351110224678912>",
    "<!channel>",
    "<!here|here>",
    "<!subteam^S012>",
    "<@U012ABCDEF>",
    "<at>Ada</at>",
    '</at><at id="0">Ada',
    "@ada_lovelace",
    "\\@everyone",
    "\\\\<@80351110224678912>",
    "@\u200beveryone",
    "[a](tg://user?id=1)",
    '<a href="tg://user?id=1">a</a>',
    "https://example.org/@everyone",
]


def node(kind, *children, **fields):
    return {"type": kind, "children": list(children), **fields}


def text(words):
    return node("text", text=words)


def link(words):
    return node("link", text(words), url=URL)


def paragraph(*children):
    return node("paragraph", *children)


def card(title, *children):
    return node("card", *children, text=title, url=URL)


def messages():
    """Each with a name for its kind."""
    for odd in ODD:
        inside = [text(f"{odd} ")]
        for kind in MARKS:
            inside += [node(kind, text(f"{odd}{kind}{odd}")), text(f" {odd} ")]
        inside += [node("code", text=f"{odd}code{odd}"), text(odd + " "), link(odd + "link"), text(odd)]
        yield "marks", [paragraph(*inside)]
        yield "adjacent", [paragraph(*[node(kind, text(odd)) for kind in MARKS])]
        nested = node("bold", text(odd), node("italic", node("strike", text("in" + odd)), text(odd)))
        yield "nested", [paragraph(text(odd), nested, text(odd))]
        code = node("codeBlock", text=f"let {odd} = 1;\n  *no* <b>", language="rust")
        yield "code block", [paragraph(text(odd)), code, paragraph(node("bold", text(odd)))]
        quote = node("quote", paragraph(text(odd), node("bold", text("said" + odd))))
        yield "quote", [paragraph(text(odd)), quote, paragraph(text(odd))]
        items = [node("listItem", paragraph(node("italic", text(f"{n}{odd}")))) for n in "abc"]
        yield "list", [node("list", *items, ordered=ordered) for ordered in (True, False)]
        smile = node("emoji", target=f"telegram:{SMILE}", text="👍")
        party = node("emoji", target="party", text=":party:", url=PARTY)
        yield "emoji", [paragraph(text(odd), smile, text(odd), party, text(odd))]
        yield (
            "card",
            [paragraph(text(odd)), card("T" + odd, paragraph(text(odd), node("bold", text("b" + odd))))],
        )
        long = [paragraph(node("bold", text(f"{odd}{n}")), text(" " + odd * 40)) for n in range(120)]
        yield "long", long
        yield "long code", [node("codeBlock", text=f"{odd} = {odd}\n" * 6000, language="python")]
        yield "long word", [paragraph(node("bold", text(f"{odd}x" * 3000)))]
    for foreign in FOREIGN:
        cut = [paragraph(text(foreign[:at]), node("bold", text(foreign[at:]))) for at in (1, 2)]
        yield "foreign", [paragraph(text(foreign)), paragraph(node("bold", text(f"a {foreign}"))), *cut]
        yield "foreign", [paragraph(link(foreign)), card(foreign, paragraph(text(foreign)))]
        yield "foreign", [node("quote", paragraph(text(foreign))), paragraph(text("<"), text(foreign[1:]))]
    for kind in ("mention", "broadcastMention", "channelMention"):
        targets = [node(kind, target=target) for target in ("everyone", "80351110224678912", "ada")]
        yield "unmapped", [paragraph(*targets)]
    yield "long code", [node("codeBlock", text="let one = 1;\n" * 6000, language="rust")]
    yield "many cards", [card(f"T{n}", paragraph(node("bold", text(f"b{n}")))) for n in range(12)]
    yield "long card", [card("T", *[paragraph(text("x" * 1000)) for _ in range(200)])]
    yield "long card", [card("T", paragraph(text("x" * 3500)))] * 3


def words_of(tree):
    if isinstance(tree, list):
        return "".join(map(words_of, tree))
    return tree.get("text", "") + words_of(tree.get("children", []))


def marks_of(tree):
    """What a tree marks: kind, words, and where that leads or which it is, as often as it is there."""
    found = collections.Counter()
    for one in tree:
        kind, target = one["type"], one.get("target", "")
        detail = one.get("url") or one.get("language")
        if kind == "emoji" and target.startswith("telegram:"):
            found[("customEmoji", words_of(one), target.removeprefix("telegram:"))] += 1
        elif kind in (*MARKS, "code", "codeBlock", "quote", "link"):
            found[(kind, words_of(one), detail)] += 1
        found += marks_of(one.get("children", []))
    return found


def plain(said):
    """Without what nobody sees: it keeps marks and mentions apart."""
    return re.sub("[\u2060\u200b]", "", said)
