"""python -m models: which encoders there are, and what is known of each. Listing imports no torch."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from mmretrieval import catalog
from mmretrieval.errors import RetrievalError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0 all well, 1 an error of the library's, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m models", description="The encoders of the catalogue.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="name, dim, modalities, licence, and what is missing of each encoder")
    listing.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")
    show = commands.add_parser("show", help="all that is known of one encoder")
    show.add_argument("spec", help="a name, with options: 'clip-b32;checkpoint=PATH'")
    show.add_argument("--json", action="store_true", help="one JSON object as the last line of standard output")
    commands.add_parser("remake-class-texts", help="embed models/imagenet_classes.tsv anew, for lite and lite-0")
    given = parser.parse_args(arguments)
    try:
        if given.command == "list":
            return _list(given.json)
        return _show(given.spec, given.json) if given.command == "show" else _remake_class_texts()
    except RetrievalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _row(spec: str) -> dict[str, Any]:
    card = catalog.card(spec)
    row = asdict(card) | {"reads": sorted(card.reads), "space": card.space}
    return row | {"missing": catalog.missing(spec)}


def _list(as_json: bool) -> int:
    rows = [_row(name) for name in catalog.blocks()]
    stream = sys.stderr if as_json else sys.stdout
    table = [("NAME", "DIM", "READS", "OFFLINE", "READY", "LICENCE")]
    for row in rows:
        ready = "no" if row["missing"] else "yes"
        offline = "yes" if row["offline"] else "no"
        table.append((row["name"], str(row["dim"]), " ".join(row["reads"]), offline, ready, row["licence"]))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), file=stream)
    for row in rows:
        if row["missing"]:
            print(f"{row['name']}: {row['missing']}", file=stream)
    if as_json:
        print(json.dumps({"encoders": rows}))
    return 0


def _show(spec: str, as_json: bool) -> int:
    row = _row(spec)
    for key, value in row.items():
        text = " ".join(value) if isinstance(value, list) else value
        print(f"{key:14} {text}", file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(json.dumps(row))
    return 0


def _remake_class_texts() -> int:
    from models import class_texts
    from models.minilm import MiniLM

    files = catalog.data_files("lite", without=("classes",))
    class_texts.make(MiniLM(files["config"], files["sentences"], files["tokenizer"]))
    print(f"{class_texts.VECTORS} has the sha256 {catalog.digest(class_texts.VECTORS)}: write it into catalog.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
