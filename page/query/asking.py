"""From what a visitor gave to a Query: parts with weights, a filter, and the items that the query's pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ingest.workers import scan
from mmretrieval import fragments
from mmretrieval.conditions import restriction
from mmretrieval.errors import BadQuery, MediaError
from mmretrieval.fragments import Place
from mmretrieval.types import Content, Part, Query

if TYPE_CHECKING:
    from page.state import Page

KIND_NAMES = {"image": "picture", "video": "clip", "document": "page", "text": "passage"}
# The name under which errors of the engine speak of the page's query; `notices.attempt` leaves it out.
QUERY_ID = "this query"
MOST_WEIGHT = 2.0
MOST_PARTS = 64
# Of all words together, and of uploaded pictures: one query must not keep everybody else waiting.
MOST_CHARS, MOST_PICTURES = 20_000, 16
AVOIDED = 0.5
PartKind = Literal["words", "picture", "item"]
PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)


@dataclass(frozen=True)
class AskedPart:
    """One part of a query: words, an uploaded picture (its path on this machine), or an item of the library (its id).

    The weight goes from -2 (away from it) to 2 (towards it); 0 leaves the part out. `fragment` names a place in a
    picture or item, as in xywh=percent:10,10,50,50 or t=3 (see mmretrieval.fragments). `feedback`: an item that was
    liked or, with a negative weight, disliked.
    """

    kind: PartKind
    value: str
    weight: float = 1.0
    fragment: str = ""
    feedback: bool = False


@dataclass(frozen=True)
class Asked:
    """A query as the widgets hold it: its parts, kinds of items (none: all), conditions, and `within`, the only items
    to rank (none: all)."""

    parts: tuple[AskedPart, ...] = ()
    kinds: tuple[str, ...] = ()
    conditions: str = ""
    within: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        words: str = "",
        picture: str | None = None,
        item: str | None = None,
        avoid: str = "",
        *,
        words_weight: float = 1.0,
        picture_weight: float = 1.0,
        item_weight: float = 1.0,
        avoid_weight: float = AVOIDED,
        kinds: Sequence[str] = (),
        conditions: str = "",
    ) -> Asked:
        """A query of at most one part of each kind; `avoid` is words to be pushed away from, by a positive weight."""
        given: list[tuple[PartKind, str | None, float]] = [
            ("words", words, words_weight),
            ("picture", picture, picture_weight),
            ("item", item, item_weight),
            ("words", avoid, -abs(avoid_weight)),
        ]
        parts = tuple(AskedPart(kind, value, weight) for kind, value, weight in given if value and value.strip())
        return cls(parts, tuple(kinds), conditions)

    @property
    def sentence(self) -> str:
        """The query in words, for headings."""
        return self.said({})

    def said(self, titles: dict[str, str]) -> str:
        """The query in words: what it goes towards, what away from, weights that are not 1 or -1, filters.

        `titles` has words for items, by id.
        """
        heard = [part for part in self.parts if part.weight]
        towards = " + ".join(_said(part, titles) for part in heard if part.weight > 0)
        away = " and ".join(_said(part, titles) for part in heard if part.weight < 0)
        filters = [f"only {' and '.join(f'{KIND_NAMES.get(k, k)}s' for k in self.kinds)}"] if self.kinds else []
        filters += [f"where {self.conditions.strip()}"] if self.conditions.strip() else []
        filters += [f"among {len(self.within):,} chosen items"] if self.within else []
        return ", ".join(filter(None, [towards, f"away from {away}" if away else "", *filters]))


def _said(part: AskedPart, titles: dict[str, str]) -> str:
    if part.kind == "words":
        name = f"“{part.value.strip()}”"
    elif part.kind == "picture":
        name = "a picture"
    else:
        title = f" (“{titles[part.value]}”)" if part.value in titles else ""
        name = f"an item of the library{title}"
    if part.kind != "words" and part.fragment:
        name = f"a part of {name}"
    if part.feedback:
        name = f"{'liked' if part.weight > 0 else 'disliked'}: {name}"
    usual = part.weight in (1.0, -1.0, -AVOIDED)
    return name if usual else f"{name} (weight {abs(part.weight):g})"


def query(page: Page, asked: Asked) -> Query:
    """The Query that was asked, without the parts of weight 0.

    Raises BadQuery where there is nothing to look for, MediaError for a broken picture, BadFilter for a condition that
    cannot be understood.
    """
    if not asked.parts:
        raise BadQuery("nothing to look for yet: write some words, give a picture, or take a result as the query")
    if len(asked.parts) > MOST_PARTS:
        raise BadQuery(f"the query has {len(asked.parts)} parts, at most {MOST_PARTS} are taken: leave some out")
    heard = [part for part in asked.parts if part.weight]
    if (written := sum(len(part.value) for part in heard if part.kind == "words")) > MOST_CHARS:
        raise BadQuery(f"the query has {written:,} characters, at most {MOST_CHARS:,} are read: shorten it")
    if (pictures := sum(part.kind == "picture" for part in heard)) > MOST_PICTURES:
        raise BadQuery(f"the query has {pictures} uploaded pictures, at most {MOST_PICTURES} are read: leave some out")
    if not heard:
        raise BadQuery("every part of the query has weight 0: give at least one of them another weight")
    made = [_part(page, part) for part in heard]
    own = frozenset[str]().union(*(excluded for _, excluded in made))
    subset = frozenset(asked.within) if asked.within else None
    allowed = restriction(asked.kinds, asked.conditions)
    return Query(tuple(part for part, _ in made), QUERY_ID, filter=allowed, exclude=own, subset=subset)


def _part(page: Page, part: AskedPart) -> tuple[Part, frozenset[str]]:
    """A part as engines take it, and the items that it is itself and that its answers leave out."""
    if part.kind == "words":
        return Part(Content(text=part.value.strip()), weight=part.weight), frozenset()
    if part.kind == "picture":
        content, sha256 = picture(page, Path(part.value), part.fragment)
        return Part(content, weight=part.weight), page.library.own_items(sha256)
    item = page.library.item(part.value)
    if not part.fragment:
        return Part(item=item.id, weight=part.weight, feedback=part.feedback), frozenset()
    place = fragments.parse(f"{fragments.ITEM}{item.id}#{part.fragment}")
    where = fragments.located(place, item, page.library)
    content = page.readers.submit(fragments.of_file, *where, page.library.settings).result()
    return Part(_seen(content), weight=part.weight), frozenset({item.id})


def _seen(content: Content) -> Content:
    """A page asks by its picture, as an item of the library does: most encoders read one thing at a time."""
    return Content(image=content.image) if content.image is not None else content


def picture(page: Page, path: Path, fragment: str = "") -> tuple[Content, str]:
    """An uploaded picture as the encoders will see it, read in another process, and the sha256 of its bytes."""
    found = page.readers.submit(scan, path, page.library.settings).result()
    if found.kind != "image":
        raise MediaError(f"{path.name} is {found.kind or 'no media file'}, not a picture: give a picture as the query")
    place = fragments.parse(f"picture#{fragment}") if fragment else Place("picture")
    content: Any = page.readers.submit(fragments.of_file, path, found.kind, place, page.library.settings).result()
    return content, found.sha256
