"""Prints, for a shell, what libpq reads instead of the address in SWITCHYARD__POSTGRES__URL, so that no
password stands in a command line."""

import os
import shlex
import sys
from urllib.parse import unquote, urlsplit

address = os.environ.get("SWITCHYARD__POSTGRES__URL")
if not address:
    sys.exit("SWITCHYARD__POSTGRES__URL is not set")
url = urlsplit(address)
parts = {
    "PGHOST": url.hostname or "",
    "PGPORT": str(url.port or 5432),
    "PGUSER": unquote(url.username or ""),
    "PGPASSWORD": unquote(url.password or ""),
    "PGDATABASE": unquote(url.path.lstrip("/")),
}
for name, value in parts.items():
    print(f"export {name}={shlex.quote(value)}")
