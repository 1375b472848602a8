"""python -m models: which encoders there are, what is known of each, and how each fares on this machine.

Listing imports no torch. With --json the last line of standard output is for machines, and people read standard error.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mmretrieval import catalog
from mmretrieval.digests import sha256
from mmretrieval.embedding import embed, embed_multi, readable, spoken
from mmretrieval.errors import EncoderError, RetrievalError
from mmretrieval.provenance import versions

if TYPE_CHECKING:
    from mmretrieval.types import Content, Encoder, Role
    from models.bench import Rows, Samples

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
MEASURED_WITH = ("torch", "openvino", "open_clip_torch", "transformers", "sentence-transformers", "numpy", "pillow")
# A process that measures is handed these by name: models themselves do not reach into the library.
LIBRARY: dict[str, Callable[..., Any]] = {
    "load": catalog.load,
    "resolve": catalog.resolve,
    "data_files": catalog.data_files,
    "embed": embed,
    "embed_multi": embed_multi,
}
SPEC = "a name, with options: 'clip-b32;precision=bf16'; or family:model, as in open_clip:ViT-L-14/openai"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0 all well, 1 a check or a measurement that failed, 2 wrong usage or a missing encoder."""
    given = _parser().parse_args(arguments)
    commands = {
        "list": _list,
        "show": _show,
        "pull": _pull,
        "check": _check,
        "bench": _bench,
        "remake-class-texts": _remake_class_texts,
    }
    try:
        return commands[given.command](given)
    except RetrievalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description="The encoders of the catalogue.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="name, dim, what it reads, licence, and whether it can run here")
    show = commands.add_parser("show", help="all that is known of one encoder")
    pull = commands.add_parser("pull", help="fetch what one encoder needs, for later use without a network")
    check = commands.add_parser("check", help="hold one encoder to the contract on this machine: exit 1 if it fails")
    bench = commands.add_parser("bench", help="speed, memory and exactness against the plain way of each family")
    commands.add_parser("remake-class-texts", help="embed models/imagenet_classes.tsv anew, for lite and lite-0")
    for one in (show, pull, check):
        one.add_argument("spec", help=SPEC)
    bench.add_argument("spec", nargs="*", help=SPEC + "; all that can run here if none is named")
    bench.add_argument("--pictures", type=_count, default=64, help="pictures (and captions) of samples/ to measure on")
    bench.add_argument("--seconds", type=float, default=60, help="time for the rounds of one encoder (at least three)")
    bench.add_argument("--threads", type=_count, help="threads of the processor (default: the library's own choice)")
    for one in (listing, show, pull, check, bench):
        one.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _people(given: argparse.Namespace) -> TextIO:
    return sys.stderr if given.json else sys.stdout


# --- what is known -------------------------------------------------------------------------------------------------


def _row(spec: str) -> dict[str, Any]:
    block, card, _ = catalog.resolve(spec)
    row = asdict(card) | {"reads": spoken(readable(card)).split(", "), "space": card.space}
    return row | {"role": block.facts.get("role", "encoder"), "missing": catalog.missing(spec)}


def _list(given: argparse.Namespace) -> int:
    untold = catalog.untold()
    rows = [_row(name) for name in catalog.blocks() if name not in untold]
    people = _people(given)
    table = [("NAME", "DIM", "READS", "KIND", "READY", "LICENCE")]
    table += [
        (row["name"], str(row["dim"] or "-"), " ".join(row["reads"]), _kind(row), _ready(row), _licence(row))
        for row in rows
    ]
    _print_table(table, people)
    absent = [row for row in rows if row["missing"]]
    if fetched := [row["name"] for row in absent if catalog.blocks()[row["name"]].card]:
        print(
            f"{len(fetched)} are not here yet: `python -m models pull NAME` fetches one from the Hugging Face hub; "
            "where you have its files, name them: NAME;checkpoint=PATH. `show NAME` says what is missing.",
            file=people,
        )
    for row in absent:
        if row["name"] not in fetched:
            print(f"{row['name']}: {row['missing']}", file=people)
    for name, why in untold.items():
        print(f"{name}: {why}", file=people)
    if families := list(catalog.families()):
        print(f"Any checkpoint of a family is an encoder too, as FAMILY:MODEL: {', '.join(families)}.", file=people)
    if given.json:
        print(json.dumps({"encoders": rows, "untold": untold, "families": families}))
    return 0


def _kind(row: Mapping[str, Any]) -> str:
    """Joint: reads words and a picture at once; multi: a bag of vectors for each content."""
    if row["role"] != "encoder":
        return str(row["role"])
    return " ".join(word for word in ("joint", "multi") if row[word]) or "-"


def _ready(row: Mapping[str, Any]) -> str:
    if row["missing"]:
        return "no"
    return "yes" if row["offline"] else "cached"


def _licence(row: Mapping[str, Any]) -> str:
    return str(row["licence"]) + ("" if row["commercial"] else " (NO COMMERCIAL USE)")


def _print_table(table: Sequence[Sequence[str]], stream: TextIO) -> None:
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), file=stream)


def _show(given: argparse.Namespace) -> int:
    row = _row(given.spec)
    for key, value in row.items():
        text = " ".join(value) if isinstance(value, list) else value
        note = " (the licence forbids commercial use)" if key == "commercial" and not value else ""
        print(f"{key:14} {text}{note}", file=_people(given))
    if given.json:
        print(json.dumps(row))
    return 0


def _pull(given: argparse.Namespace) -> int:
    said = catalog.pull(given.spec)
    row = _row(given.spec)
    print(f"{given.spec}: {said}", file=_people(given))
    if row["missing"]:
        raise EncoderError(f"{given.spec} still cannot run here: {row['missing']}")
    if not row["commercial"]:
        print(f"note: {row['licence']} forbids commercial use", file=_people(given))
    if given.json:
        print(json.dumps({"encoder": given.spec, "pulled": said, "revision": row["revision"]}))
    return 0


# --- what it does here ---------------------------------------------------------------------------------------------


def _check(given: argparse.Namespace) -> int:
    from models import check

    block, card, settings = catalog.resolve(given.spec)
    close = check.tolerance(settings)
    if block.facts.get("role") == "reranker":
        verdicts = check.check_reranker(card, catalog.load_reranker(given.spec).score, close)
    else:
        encoder = catalog.load(given.spec)
        verdicts = check.check(check.Subject(encoder.card, functools.partial(_bags, encoder), close))
    failed = [v.check for v in verdicts if not v.passed]
    for verdict in verdicts:
        print(f"{'ok  ' if verdict.passed else 'FAIL'} {verdict.check:13} {verdict.figure}", file=_people(given))
    print(f"{card.spec}: {len(verdicts) - len(failed)} of {len(verdicts)} checks passed", file=_people(given))
    if given.json:
        rows = [asdict(v) for v in verdicts]
        print(json.dumps({"encoder": card.spec, "revision": card.revision, "passed": not failed, "checks": rows}))
    return 1 if failed else 0


def _bags(encoder: Encoder, contents: Sequence[Content], role: Role) -> list[Rows]:
    if not encoder.card.multi:
        return list(embed(encoder, contents, role)[:, None, :])
    bags = embed_multi(encoder, contents, role)
    return [bags[place] for place in range(len(bags))]


def _bench(given: argparse.Namespace) -> int:
    from models import bench, processor

    specs = given.spec or [n for n, c in catalog.cards().items() if not catalog.missing(n) and "image" in c.reads]
    for spec in specs:
        catalog.card(spec)  # a name that nobody has is told before anything is measured
    samples = bench.read_samples(SAMPLES, given.pictures)
    people, rows, failed = _people(given), list[dict[str, Any]](), dict[str, str]()
    for spec in specs:
        try:
            rows.append(_measured(spec, samples, given))
        except RetrievalError as error:
            failed[spec] = str(error)
            print(f"error: {spec}: {error}", file=sys.stderr)
        else:
            _print_figures(rows[-1], people)
    if given.json:
        machine = {"cpu": processor.speed_flags(), "versions": versions(MEASURED_WITH)}
        print(json.dumps({"rows": [row | machine for row in rows], "failed": failed}))
    return 1 if failed else 0


def _measured(spec: str, samples: Samples, given: argparse.Namespace) -> dict[str, Any]:
    from models import bench

    _, card, settings = catalog.resolve(spec)
    plain, said = _plain_of(spec)
    workers = [bench.Worker(functools.partial(bench.fast_way, LIBRARY, spec), samples, given.threads)]
    try:
        workers += [bench.Worker(plain, samples, given.threads)] if plain else []
        figures = bench.measure(workers[0], workers[1] if plain else None, given.seconds)
    finally:
        for worker in workers:
            worker.close()
    return {"encoder": card.spec, "plain": said, "precision": settings.get("precision", "fp32")} | figures


def _plain_of(spec: str) -> tuple[Any, str]:
    """What loads the plain way of an encoder, and in words what that is; (None, why) where there is nothing plainer."""
    from models.bench import fast_way, plain_way
    from models.plain import PLAIN

    if catalog.resolve(spec)[0].factory in PLAIN:
        return functools.partial(plain_way, LIBRARY, spec), "the makers' own call: eager, fp32"
    exact = catalog.in_full_precision(spec)
    if exact != str(catalog.parse_spec(spec)):
        return functools.partial(fast_way, LIBRARY, exact), f"itself in fp32 ({exact})"
    return None, "none: no plain way is written down for it"


def _print_figures(row: Mapping[str, Any], stream: TextIO) -> None:
    print(f"{row['encoder']}: {row['runtime']}; {row['threads']} threads, plain way: {row['plain']}", file=stream)
    for title, key, unit in (
        ("pictures", "images_per_s", "/s"),
        ("texts", "texts_per_s", "/s"),
        ("one picture", "picture_query_ms", " ms"),
        ("one text", "text_query_ms", " ms"),
    ):
        if row[key] is not None:
            times = (
                f"  plain {row['plain_' + key]:8.1f}{unit}   x {row[key + '_ratio']:.2f}" if row[f"{key}_ratio"] else ""
            )
            print(f"  {title:12} {row[key]:8.1f}{unit}{times}", file=stream)
    if row["min_cosine"] is not None:
        print(f"  cosine       {row['min_cosine']:.6f} at least, median {row['median_cosine']:.6f}", file=stream)
    print(f"  memory       {row['peak_rss_mb']:8.0f} MiB at its peak; loaded in {row['load_s']:.1f} s", file=stream)


def _remake_class_texts(_: argparse.Namespace) -> int:
    from models import class_texts
    from models.minilm import MiniLM

    files = catalog.data_files("lite", without=("classes",))
    class_texts.make(MiniLM(files["config"], files["sentences"], files["tokenizer"]))
    print(f"{class_texts.VECTORS} has the sha256 {sha256(class_texts.VECTORS)}: write it into catalog.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
