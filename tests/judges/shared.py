"""What the judges have in common: the program, and when they agree with it."""

import collections
import json
import subprocess
import sys

from samples import plain, words_of

SEEN = collections.Counter()


class Disagreement(Exception):
    """A judge says otherwise."""


def agree(holds, *said):
    if not holds:
        raise Disagreement(" ".join(map(str, said))[:4000])


def run(action, platform, said):
    command = [sys.argv[1], "bridges", action, platform, "-"]
    done = subprocess.run(command, input=json.dumps(said), capture_output=True, text=True, timeout=60)
    agree(done.returncode == 0, *command, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def render(platform, tree, **more):
    channel = "-1001234567890" if platform == "telegram" else "C012"
    calls = run("render", platform, {"channel": channel, "id": "m1", "content": tree, **more})
    agree(calls, platform, "has nothing of", tree)
    return calls


def parsed(platform, payload):
    happened = run("parse", platform, payload)
    agree(len(happened) == 1 and "ignored" not in happened[0], payload, "is read as", happened)
    return next(iter(happened[0].values()))


def translated(marks, names):
    """Marks under the names that a judge has for them; those that it has none for are left out."""
    found = collections.Counter()
    for (kind, words, detail), count in marks.items():
        if kind in names:
            found[(names[kind], plain(words), detail)] += count
    return found


def same(what, expected, found):
    more, less = found - expected, expected - found
    agree(
        not more and not less,
        what,
        "\n  intended, not seen:",
        dict(less),
        "\n  seen, not intended:",
        dict(more),
    )


def same_words(what, tree, said):
    """Every letter of the tree is there, in its order."""
    found = iter(plain(said))
    left = next((c for c in plain(words_of(tree)) if not c.isspace() and c not in found), None)
    agree(left is None, what, repr(left), "and what follows it is not in", said)
