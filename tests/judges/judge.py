"""Libraries that others wrote for the four platforms read what is rendered, and write what is parsed.

    judge.py SWITCHYARD [MAPPED]

SWITCHYARD is the program. MAPPED is a file with what the program shows only with an identity table,
as JSON: `calls`, which post "@ada @bob" on each platform where only ada is known, under the id that
`ids` has for it; and `signed`, a request whose signature is printed as `signature v0=…`. Ends with 1
and the reason if a judge disagrees, else prints what each has seen.
"""

import json
import sys

import judge_discord
import judge_slack
import judge_teams
import judge_telegram
from samples import messages
from shared import SEEN, Disagreement

JUDGES = {"slack": judge_slack, "teams": judge_teams, "discord": judge_discord, "telegram": judge_telegram}


def main():
    asked = None
    try:
        for platform, one in JUDGES.items():
            asked = f"{platform}, as its library writes"
            one.write()
        for number, (what, tree) in enumerate(messages()):
            for platform, one in JUDGES.items():
                asked = f"{platform}, {what} (message {number})"
                one.judge(what, tree, one.VARIANTS[number % len(one.VARIANTS)])
            SEEN["all: messages"] += 1
        if len(sys.argv) > 2:
            with open(sys.argv[2], encoding="utf-8") as file:
                mapped = json.load(file)
            for platform, one in JUDGES.items():
                asked = f"{platform}, with an identity table"
                one.mapped(mapped["calls"][platform], mapped["ids"][platform])
            print("signature", judge_slack.signature(**mapped["signed"]))
    except Disagreement as disagreement:
        sys.exit(f"{asked}: {disagreement}")
    except Exception as error:
        # A library that cannot read something disagrees too.
        sys.exit(f"{asked}: {error!r}")
    for what, count in sorted(SEEN.items()):
        print(f"{count:6} {what}")


if __name__ == "__main__":
    main()
