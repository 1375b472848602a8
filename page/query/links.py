"""A search as text: the page's address that brings it back, the command that repeats it, the same for a notebook."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl, quote, urlencode

from eval.search import WEIGHT, Given, weighed
from mmretrieval import fragments
from mmretrieval.engine import DEPTH
from mmretrieval.errors import BadQuery
from page import arguments
from page.query.asking import KIND_NAMES, MOST_PARTS, MOST_WEIGHT, Asked, AskedPart

FIRST = 24
ADDRESS_CHARS = 30_000
# More chosen items than these would make an address that browsers and servers cut, and a command that nobody can read:
# that takes them from a file of this name.
MOST_AMONG, AMONG_FILE = 100, "chosen.txt"


@dataclass(frozen=True)
class Link:
    """Everything about a search that its address holds.

    `recipe` "" is the library's own; `cut` whether what chance would find as well is greyed; `fold` whether what shows
    the same stands behind the best of it; `lost` how many uploaded pictures, and `beyond` how many chosen items, the
    search had that its address has no room for.
    """

    asked: Asked = Asked()
    recipe: str = ""
    k: int = FIRST
    cut: bool = True
    fold: bool = True
    lost: int = 0
    beyond: int = 0


def address(link: Link) -> str:
    """The query string of a search, without the question mark; uploaded pictures are counted and left out."""
    asked = link.asked
    pairs = [(name, written) for part in asked.parts if (name := _name(part)) for written in [_written(part)]]
    pairs += [("kind", kind) for kind in asked.kinds]
    pairs += [("where", asked.conditions)] if asked.conditions.strip() else []
    few = len(asked.within) <= MOST_AMONG
    pairs += [("among", ident) for ident in asked.within] if few else [("beyond", str(len(asked.within)))]
    pairs += [("beyond", str(link.beyond))] if link.beyond and few else []
    pairs += [("recipe", link.recipe)] if link.recipe else []
    pairs += [("k", str(link.k))] if link.k != FIRST else []
    pairs += [] if link.cut else [("cut", "0")]
    pairs += [] if link.fold else [("fold", "0")]
    lost = link.lost + sum(part.kind == "picture" for part in asked.parts)
    pairs += [("uploads", str(lost))] if lost else []
    return urlencode(pairs, quote_via=quote, safe="*:,@/")


def parse(text: object) -> Link:
    """The search that an address holds; what is not a search's is left alone. Raises BadQuery for a broken one."""
    pairs = parse_qsl(
        arguments.text(text, "the address", ADDRESS_CHARS).removeprefix("?"),
        keep_blank_values=True,
        max_num_fields=1000,
    )
    found: dict[str, list[str]] = {}
    parts: list[AskedPart] = []
    for name, value in pairs:
        arguments.text(value, f"{name} of the address")
        if name in ("text", "item", "like", "dislike"):
            parts.append(_part(name, value))
        else:
            found.setdefault(name, []).append(value)
    if len(parts) > MOST_PARTS:
        raise BadQuery(f"the address has {len(parts)} parts, at most {MOST_PARTS} are taken: leave some out")
    asked = Asked(
        tuple(parts),
        arguments.names(found.get("kind"), "kind", KIND_NAMES),
        _last(found, "where"),
        tuple(_ident(one) for one in found.get("among", ())),
    )
    return Link(
        asked,
        _last(found, "recipe"),
        _whole(found, "k", FIRST, 1, DEPTH),
        _last(found, "cut") != "0",
        _last(found, "fold") != "0",
        _whole(found, "uploads", 0, 0, MOST_PARTS),
        _whole(found, "beyond", 0, 0, 10**9),
    )


def given(asked: Asked) -> Given:
    """The parts as options of `python -m eval search`; an uploaded picture by its file's name alone."""
    return tuple(_given(part) for part in asked.parts if part.weight)


def command(link: Link, library: str) -> str:
    """The line for a shell that finds the same items in the same order; many chosen items are read from AMONG_FILE."""
    words = ["python", "-m", "eval", "search", "--library", library]
    words += ["--recipe", link.recipe] if link.recipe else []
    for option, rest, weight in given(link.asked):
        words.append(f"--{option}={_weighted(rest, weight)}")
    where = _where(link.asked)
    words += [f"--where={where}"] if where else []
    few = len(link.asked.within) <= MOST_AMONG
    words += [f"--within={one}" for one in (link.asked.within if few else (f"./{AMONG_FILE}",))]
    return shlex.join([*words, "-k", str(link.k)])


def among(asked: Asked) -> str:
    """What AMONG_FILE holds: the chosen items' ids, one a line."""
    return "".join(f"{ident}\n" for ident in asked.within)


def notebook(link: Link, library: str) -> str:
    """The lines of Python that find the same items in the same order; `hits` has them at the end."""
    asked = link.asked
    restricted = f"restriction({asked.kinds!r}, {asked.conditions.strip()!r})"
    details = [f"filter={restricted}"] if asked.kinds or asked.conditions.strip() else []
    details += ["exclude=own"]
    details += [f"subset=frozenset({sorted(asked.within)!r})"] if asked.within else []
    recipe = repr(link.recipe) if link.recipe else "library.default_recipe"
    parts = "".join(f"\n    {one!r}," for one in given(asked))
    return "\n".join(
        [
            "# Run it from the checkout's root: in `python -c` or `python -`, or saved, as `PYTHONPATH=. python FILE`.",
            "from eval.search import asked",
            *(["from mmretrieval.conditions import restriction"] if "restriction" in details[0] else []),
            "from mmretrieval.engine import Engine",
            "from mmretrieval.library import Library",
            "from mmretrieval.types import Query",
            "",
            f"library = Library.open({library!r})",
            f"parts, own = asked(({parts}\n), library)",
            f"query = Query(parts, {', '.join(details)})",
            f"run = Engine(library).rank([query], {recipe}, {link.k})",
            "hits = run.rankings[0].hits",
            "for hit in hits:",
            "    print(hit.rank, round(hit.score, 3), repr(library.item(hit.id).text[:80]))",
        ]
    )


def _given(part: AskedPart) -> tuple[str, str, float]:
    if part.kind == "words":
        return "text", part.value.strip(), part.weight
    if part.kind == "picture":
        return "part", f"{_file(part)}{f'#{part.fragment}' if part.fragment else ''}", part.weight
    if part.fragment:
        return "part", f"{fragments.ITEM}{part.value}#{part.fragment}", part.weight
    if part.feedback:
        return ("like" if part.weight > 0 else "dislike"), part.value, abs(part.weight)
    return "item", part.value, part.weight


def _file(part: AskedPart) -> str:
    """An uploaded picture's own name, as it was on the visitor's machine."""
    return f"./{part.value.rpartition('/')[2]}"


def _where(asked: Asked) -> str:
    """Kinds and conditions as conditions alone: of several kinds, those that are not wanted are ruled out."""
    if len(asked.kinds) == 1:
        kinds = [f"kind = {asked.kinds[0]}"]
    else:
        kinds = [f"kind != {kind}" for kind in KIND_NAMES if kind not in asked.kinds] if asked.kinds else []
    return ", ".join([*kinds, *filter(None, [asked.conditions.strip()])])


def _name(part: AskedPart) -> str:
    """What the part is called in an address; "" where it cannot be in one."""
    if part.kind == "item" and part.feedback:
        return "dislike" if part.weight < 0 else "like"
    return {"words": "text", "item": "item", "picture": ""}[part.kind]


def _written(part: AskedPart) -> str:
    rest = part.value.strip() + (f"#{part.fragment}" if part.fragment and part.kind == "item" else "")
    return _weighted(rest, abs(part.weight) if part.feedback else part.weight)


def _weighted(rest: str, weight: float) -> str:
    """`rest` behind its weight, where that is not 1 or would else be misread."""
    return f"{_number(weight)}*{rest}" if weight != 1 or WEIGHT.match(rest) else rest


def _number(number: float) -> str:
    return f"{Decimal(repr(float(number))):f}".removesuffix(".0")


def _part(name: str, value: str) -> AskedPart:
    rest, weight = weighed(value)
    weight = arguments.real(weight, "the weight", -MOST_WEIGHT, MOST_WEIGHT)
    if name == "text":
        return AskedPart("words", rest, weight)
    ident, _, fragment = rest.partition("#")
    feedback = name in ("like", "dislike")
    if feedback and weight < 0:
        raise BadQuery(f"{name}={value[:80]}: its weight is below 0: write like or dislike instead")
    return AskedPart("item", _ident(ident, fragment), -weight if name == "dislike" else weight, fragment, feedback)


def _ident(ident: str, fragment: str = "") -> str:
    """The id, if it is one and the fragment is one; else BadQuery."""
    return fragments.parse(f"{fragments.ITEM}{ident}{f'#{fragment}' if fragment else ''}").item


def _last(found: dict[str, list[str]], name: str) -> str:
    return found.get(name, [""])[-1].strip()


def _whole(found: dict[str, list[str]], name: str, default: int, low: int, high: int) -> int:
    written = _last(found, name)
    if written and not written.isdecimal():
        raise BadQuery(f"{name} of the address is {written[:40]!r}: give a whole number from {low} to {high}")
    return arguments.whole(int(written[:12]), f"{name} of the address", low, high) if written else default
