"""From hits to what is drawn: a card for each in a grid. Foreign words are shown as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mmretrieval.types import Hit, Item
from page.notices import escape
from page.query.asking import KIND_NAMES

CAPTION_CHARS, PASSAGE_CHARS = 110, 260

GRID_JS = Path(__file__).with_name("results.js").read_text()
MOST_BARS = 5

STANDARDISED = "deviations above the scores of queries that mean nothing"


@dataclass(frozen=True)
class Bar:
    """What a part brought to a hit: its length from 0 to 1 among all that are shown, and the number in words."""

    label: str
    length: float
    away: bool
    says: str
    alone: bool = False


@dataclass(frozen=True)
class Card:
    """One result as it is shown; `mark` is a word on its place in another list.

    `bar` is how high its score is among those shown, 0 to 1; `weak`: chance would find it as well; `unjudged`: nothing
    can be said of that, though it can of others; `alike`: the cards that stand behind this one, as `behind` says.
    """

    id: str
    kind: str
    caption: str
    passage: str = ""
    place: str = ""
    rank: int | None = None
    score: float | None = None
    stage: str = ""
    mark: str = ""
    tone: str = ""
    bar: float | None = None
    brought: tuple[Bar, ...] = ()
    weak: bool = False
    unjudged: bool = False
    alike: tuple[Card, ...] = ()
    behind: str = ""


def place(item: Item) -> str:
    """Where in its file an item is: `0:08–0:16`, `page 3`, or nothing."""
    if item.t0 is not None:
        return f"{clock(item.t0)}–{clock(item.t1 or item.t0)}"
    return f"page {item.page}" if item.page is not None else ""


def clock(seconds: float) -> str:
    """Seconds as m:ss, with hours where there are any."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def title(item: Item) -> str:
    """A few words for an item: its first words, or its file's name."""
    words = " ".join(item.text.split())
    return cut(words, CAPTION_CHARS) or (Path(item.paths[0]).name if item.paths else item.id)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning up to a word's end and an ellipsis."""
    if len(text) <= limit:
        return text
    return text[:limit].rsplit(" ", 1)[0].rstrip(" ,;.") + "…"


def card(item: Item, hit: Hit | None = None) -> Card:
    """How an item is shown, with its place in a ranking if it has one."""
    return Card(
        item.id,
        item.kind,
        title(item),
        passage="" if item.visual else cut(" ".join(item.text.split()), PASSAGE_CHARS),
        place=place(item),
        rank=hit.rank if hit else None,
        score=hit.score if hit else None,
        stage=hit.trail[-1].stage if hit and hit.trail else "",
    )


def cards(items: Mapping[str, Item], hits: Sequence[Hit]) -> list[Card]:
    """The cards of the hits whose items are still there, in order."""
    return [card(items[hit.id], hit) for hit in hits if hit.id in items]


def grid(shown: Sequence[Card], label: str, *, chosen: bool = True) -> str:
    """Cards in a grid; where they can be chosen, each is a button that bears its item's id."""
    if not shown:
        return ""
    drawn = "".join(_listed(card, chosen) for card in shown)
    return f'<div class="mm-grid" role="list" aria-label="{escape(label)}">{drawn}</div>'


def _listed(shown: Card, chosen: bool, of: str = "") -> str:
    """A card in its place in the list, and hidden after it those that are alike."""
    if not chosen:
        inside = _inside(shown)
        return f'<div role="listitem" class="mm-card" data-card="{escape(shown.id)}">{inside}</div>'
    said = [str(shown.rank or ""), what(shown.kind, shown.place), shown.caption, shown.mark]
    said += ["no better than chance"] if shown.weak else ["not judged"] if shown.unjudged else []
    about = ", ".join(filter(None, said))
    more = (
        f'<button type="button" class="mm-alike" data-alike="{escape(shown.id)}" aria-expanded="false" '
        f'title="Show them here, or fold them again">{escape(shown.behind)}</button>'
        if shown.alike
        else ""
    )
    hidden = f' data-of="{escape(of)}" hidden' if of else ""
    weak = " mm-weak" if shown.weak else " mm-unjudged" if shown.unjudged else ""
    return (
        f'<div role="listitem" class="mm-listed"{hidden}><button type="button" class="mm-card{weak}" '
        f'data-item="{escape(shown.id)}" aria-label="{escape(about)}">{_inside(shown)}</button>{more}</div>'
        + "".join(_listed(one, chosen, shown.id) for one in shown.alike)
    )


def _inside(shown: Card) -> str:
    picture = (
        f'<span class="mm-passage">{escape(shown.passage)}</span>'
        if shown.passage
        else f'<img src="media/thumb/{quote(shown.id)}" alt="" loading="lazy">'
    )
    rank = f'<span class="mm-rank">{shown.rank}</span>' if shown.rank else ""
    of = escape(f"score of {shown.stage}{f': {STANDARDISED}' if shown.stage.endswith('@all') else ''}")
    score = f'<span class="mm-score" title="{of}">{shown.score:.3f}</span>' if shown.score is not None else ""
    mark = f'<span class="mm-mark mm-{escape(shown.tone)}">{escape(shown.mark)}</span>' if shown.mark else ""
    unjudged = '<span class="mm-hint mm-unsaid">not judged</span>' if shown.unjudged else ""
    caption = "" if shown.passage else f'<span class="mm-caption">{escape(shown.caption)}</span>'
    bar = (
        f'<span class="mm-scorebar" aria-hidden="true"><i style="width:{100 * shown.bar:.0f}%"></i></span>'
        if shown.bar is not None
        else ""
    )
    return (
        f'<span class="mm-thumb">{picture}{mark}</span>{bar}<span class="mm-line">{rank}'
        f'<span class="mm-kind mm-{escape(shown.kind)}">{escape(what(shown.kind, shown.place))}</span>{score}</span>'
        f"{caption}{unjudged}{_brought(shown.brought)}"
    )


def _brought(bars: Sequence[Bar]) -> str:
    """What each part brought, the most telling first where there are many."""
    if not bars:
        return ""
    kept = sorted(sorted(bars, key=lambda bar: -bar.length)[:MOST_BARS], key=bars.index)
    rows = "".join(
        f'<span class="mm-share{" mm-minus" if bar.away else ""}{" mm-alone" if bar.alone else ""}" '
        f'title="{escape(bar.says)}"><span>{escape(bar.label)}</span><i style="--long:{bar.length:.3f}"></i></span>'
        for bar in kept
    )
    return f'<span class="mm-brought">{rows}</span>'


def what(kind: str, place: str) -> str:
    """Kind and place in as few words as say both: `clip · 0:08–0:16`, `page 3`, `picture`."""
    name = KIND_NAMES.get(kind, kind)
    return place if place.startswith(name) else f"{name} · {place}" if place else name
