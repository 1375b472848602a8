"""From hits to what is drawn: a card for each in a grid, and one item in detail. Foreign words are shown as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mmretrieval.errors import RetrievalError
from mmretrieval.library.contents import original
from mmretrieval.types import Hit, Item
from page.asking import KIND_NAMES
from page.notices import escape, notice, table
from page.originals import SHOWN

if TYPE_CHECKING:
    from page.state import Page

CAPTION_CHARS, PASSAGE_CHARS, DETAIL_CHARS = 110, 260, 6000

# Clicks anywhere in a grid of cards come to Python as one `select` event with the item's id.
GRID_JS = """
watch('value', () => {
  // Stacked on a narrow screen, ranked results stand far below the button that asked for them.
  const about = document.getElementById('summary') || element;
  if (window.innerWidth < 700 && element.querySelector('.mm-rank')) about.scrollIntoView({block: 'start'});
});
element.addEventListener('click', (event) => {
  const card = event.target.closest('[data-item]');
  if (!card) return;
  element.querySelectorAll('.mm-chosen').forEach((other) => other.classList.remove('mm-chosen'));
  card.classList.add('mm-chosen');
  trigger('select', {item: card.dataset.item});
});
"""

# A chosen result's detail: to its top where it stands beside the results, into sight where it stands below them. The
# column comes onto the page a little after its content does.
DETAIL_JS = """() => {
  let tries = 100;
  const look = () => {
    const detail = document.querySelector('#detail .mm-detail');
    if (!detail || !detail.getClientRects().length) { if (tries--) setTimeout(look, 20); return; }
    const column = detail.closest('.mm-side');
    if (getComputedStyle(column).position === 'sticky') column.scrollTop = 0;
    else column.scrollIntoView({block: 'start'});
  };
  look();
}"""
STANDARDISED = "deviations above the scores of queries that mean nothing"


@dataclass(frozen=True)
class Card:
    """One result as it is shown; `mark` is a word on its place in another list."""

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
    drawn = "".join(_card(card, chosen) for card in shown)
    return f'<div class="mm-grid" role="list" aria-label="{escape(label)}">{drawn}</div>'


def _card(shown: Card, chosen: bool) -> str:
    said = [str(shown.rank or ""), _what(shown.kind, shown.place), shown.caption, shown.mark]
    about = ", ".join(filter(None, said))
    picture = (
        f'<span class="mm-passage">{escape(shown.passage)}</span>'
        if shown.passage
        else f'<img src="media/thumb/{quote(shown.id)}" alt="" loading="lazy">'
    )
    rank = f'<span class="mm-rank">{shown.rank}</span>' if shown.rank else ""
    of = escape(f"score of {shown.stage}{f': {STANDARDISED}' if shown.stage.endswith('@all') else ''}")
    score = f'<span class="mm-score" title="{of}">{shown.score:.3f}</span>' if shown.score is not None else ""
    mark = f'<span class="mm-mark mm-{escape(shown.tone)}">{escape(shown.mark)}</span>' if shown.mark else ""
    caption = "" if shown.passage else f'<span class="mm-caption">{escape(shown.caption)}</span>'
    inside = (
        f'<span class="mm-thumb">{picture}{mark}</span><span class="mm-line">{rank}'
        f'<span class="mm-kind">{escape(_what(shown.kind, shown.place))}</span>{score}</span>{caption}'
    )
    if not chosen:
        return f'<div role="listitem" class="mm-card" data-card="{escape(shown.id)}">{inside}</div>'
    return (
        f'<div role="listitem"><button type="button" class="mm-card" data-item="{escape(shown.id)}" '
        f'aria-label="{escape(about)}">{inside}</button></div>'
    )


# --- one item in detail -----------------------------------------------------------------------------------------------


def detail(page: Page, item: Item, hit: Hit | None = None) -> str:
    """Everything about an item: what it looks like (a clip plays from its time), its words, facts, and its trail."""
    try:
        file, problem = original(page.library.ledger, item), ""
    except RetrievalError as error:
        file, problem = None, str(error)
    parts = [
        '<div class="mm-detail" role="region" aria-label="Chosen result">',
        f"<h3>{escape(_what(item.kind, place(item)).capitalize())}</h3>",
        notice(problem if item.visual else "", "warning"),
        _media(item, file),
        f'<p class="mm-words">{escape(cut(item.text, DETAIL_CHARS))}</p>' if item.text.strip() else "",
        _facts(item, file),
    ]
    if hit is not None:
        rows = [(mark.stage, mark.rank, f"{mark.score:.4f}") for mark in hit.trail]
        parts.append(table("What each stage thought of it", ("stage", "rank", "score"), rows, numbers=(1, 2)))
        views = [mark.stage for mark in hit.trail if mark.stage.endswith("@all")]
        parts += [f'<p class="mm-hint">Scores of {escape(v)}: {STANDARDISED}; of one view: cosines.</p>' for v in views]
    return "".join(parts) + "</div>"


def _media(item: Item, file: Path | None) -> str:
    ident, about = quote(item.id), escape(title(item))
    if not item.visual:
        return ""
    if file is None:
        return f'<img class="mm-large" src="media/thumb/{ident}" alt="{about}">'
    if item.kind == "video":
        span = f"#t={item.t0:.3f},{item.t1:.3f}" if item.t0 is not None and item.t1 is not None else ""
        return (
            f'<video class="mm-large" controls preload="metadata" poster="media/thumb/{ident}" '
            f'src="media/original/{ident}{span}" aria-label="{about}"></video>'
        )
    return f'<img class="mm-large" src="media/view/{ident}" alt="{about}">'


def _facts(item: Item, file: Path | None) -> str:
    facts = [(escape(name), escape(_said(value))) for name, value in item.meta.items()]
    facts += [("language", escape(item.lang))] if item.lang else []
    facts += [("file", escape(path)) for path in item.paths]
    if file is not None:
        page = f"#page={item.page}" if item.page else ""
        says = "open the original" if file.suffix.lower() in SHOWN else "download the original"
        link = f'<a href="media/original/{quote(item.id)}{page}" target="_blank" rel="noopener">{says}</a>'
        facts.append(("", link))
    facts.append(("item", f"<code>{escape(item.id)}</code>"))
    return '<dl class="mm-facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts) + "</dl>"


def _what(kind: str, place: str) -> str:
    """Kind and place in as few words as say both: `clip · 0:08–0:16`, `page 3`, `picture`."""
    name = KIND_NAMES.get(kind, kind)
    return place if place.startswith(name) else f"{name} · {place}" if place else name


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
