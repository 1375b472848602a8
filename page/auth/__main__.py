"""python -m page.auth NAME >> FILE: asks for a password and writes the line that lets NAME in."""

from __future__ import annotations

import getpass
import sys

from mmretrieval.errors import RetrievalError
from page.auth import line


def main() -> None:
    """The password comes from the terminal, or from standard input where that is none."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m page.auth NAME >> FILE")
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    try:
        print(line(sys.argv[1], password))
    except RetrievalError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
