"""One item in detail: what it looks like, its words, facts, trail, and what it can be asked. All text is shown as text.

What is pressed in the panel comes to Python as one event, `act`, with {do, item, fragment, keep}: `act()` makes the
next query of it; `open` shows another item, `why` asks why this one was found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mmretrieval import fragments
from mmretrieval.errors import BadQuery, RetrievalError
from mmretrieval.lexical import is_lexical
from mmretrieval.library.contents import original
from mmretrieval.types import Contribution, Hit, Item, Mark
from page.notices import escape, notice, table
from page.originals import SHOWN
from page.query.asking import Asked, AskedPart
from page.query.parts import added
from page.search import saved
from page.search.around import pages, timeline
from page.search.cards import STANDARDISED, cut, place, title, what

if TYPE_CHECKING:
    from page.state import Page

DETAIL_CHARS = 6000
PRESSED = ' aria-pressed="false"'
PANEL_JS = Path(__file__).with_name("detail.js").read_text(encoding="utf-8")

# A chosen result's detail: to its top where it stands beside the results, into sight where it stands below them. The
# column comes onto the page a little after its content does.
DETAIL_JS = """() => {
  let tries = 100;
  const look = () => {
    const detail = document.querySelector('#detail .mm-detail');
    // Another result was chosen meanwhile: its panel is still to come.
    const chosen = document.querySelector('#results .mm-chosen');
    if (!chosen || chosen.dataset.item === detail?.dataset.about) detail?.removeAttribute('inert');
    if (!detail || !detail.getClientRects().length) { if (tries--) setTimeout(look, 20); return; }
    const column = detail.closest('.mm-side');
    if (getComputedStyle(column).position === 'sticky') column.scrollTop = 0;
    else column.scrollIntoView({block: 'start'});
  };
  look();
}"""
FAILED_JS = "() => { document.querySelector('#detail .mm-detail')?.removeAttribute('inert'); }"


def act(asked: Asked, said: Mapping[str, Any]) -> Asked:
    """The next query, from one and what was pressed: {do, item, fragment, keep}.

    `query` and `region` (a place in a picture, or a moment of a clip) ask with the item alone, or where `keep` is true
    beside the parts that are there; `more` and `less` add it to the query as liked or disliked, in place of what was
    said of it before. Kinds, conditions and chosen items stay. Raises BadQuery for anything else, for an id or a place
    that is none, and for more parts than a query has.
    """
    do, item, fragment = (str(said.get(key) or "") for key in ("do", "item", "fragment"))
    wanted = fragments.parse(f"{fragments.ITEM}{item}{f'#{fragment}' if fragment else ''}")
    if do == "query" or (do == "region" and not wanted.is_whole):
        part = AskedPart("item", wanted.item, fragment=fragment if do == "region" else "")
        return added(asked, part) if said.get("keep") is True else replace(asked, parts=(part,))
    if do in ("more", "less"):
        weight = 1.0 if do == "more" else -1.0
        return added(asked, AskedPart("item", wanted.item, weight, feedback=True))
    raise BadQuery(f"{do or 'nothing'!r} cannot be asked of an item: use query, more, less, or region with a place")


def stays(said: Mapping[str, Any]) -> bool:
    """Whether the panel stays open after what was pressed: where the query grew, more may be added from it."""
    return said.get("do") in ("more", "less") or said.get("keep") is True


def detail(page: Page, item: Item, hit: Hit | None = None, hits: Mapping[str, Hit] | None = None) -> str:
    """Everything about an item: what it looks like (a clip plays from its time), its words, facts, and its trail.

    `hits` are all results of the search: those of the same video are marked on its length.
    """
    try:
        file, problem = original(page.library.ledger, item), ""
    except RetrievalError as error:
        file, problem = None, str(error)
    parts = [
        f'<div class="mm-detail" role="region" aria-label="Chosen result" data-about="{escape(item.id)}">',
        f"<h3>{escape(what(item.kind, place(item)).capitalize())}</h3>",
        notice(problem if item.visual else "", "warning"),
        _media(item, file),
        timeline(page, item, hits or {}) if file is not None else "",
        pages(page, item),
        _buttons(item, file, hit),
        f'<p class="mm-words">{escape(cut(item.text, DETAIL_CHARS))}</p>' if item.text.strip() else "",
        _facts(item, file),
    ]
    if hit is not None:
        parts += [_trail(hit.trail), saved.trail(page, item, hit.trail)]
        parts += [*map(contributed, hit.contributions), saved.contributions(page, item, hit)]
    return "".join(parts) + "</div>"


# --- what it looks like ----------------------------------------------------------------------------------------------


def _media(item: Item, file: Path | None) -> str:
    ident, about = quote(item.id), escape(title(item))
    if not item.visual:
        return ""
    if file is None:
        return f'<img class="mm-large" src="media/thumb/{ident}" alt="{about}">'
    if item.kind == "video":
        span = f"#t={item.t0:.3f},{item.t1:.3f}" if item.t0 is not None and item.t1 is not None else ""
        return (
            f'<div class="mm-stage"><video class="mm-large" controls preload="metadata" poster="media/thumb/{ident}" '
            f'src="media/original/{ident}{span}" aria-label="{about}"></video><span class="mm-glass"></span></div>'
        )
    return (
        f'<div class="mm-stage"><div class="mm-room" tabindex="0" aria-label="The picture; it scrolls when enlarged">'
        f'<img class="mm-large" src="media/view/{ident}" alt="{about}" draggable="false"></div>'
        '<span class="mm-glass"></span><span class="mm-zoom" role="group" aria-label="Zoom">'
        '<button type="button" data-do="grow" data-step="-1" aria-label="Smaller">−</button>'
        '<span class="mm-zoomed" aria-live="polite">100 %</span>'
        '<button type="button" data-do="grow" data-step="1" aria-label="Larger">+</button></span></div>'
    )


def _buttons(item: Item, file: Path | None, hit: Hit | None) -> str:
    """What the item can be asked. A region or a moment is read from the file, which must be there for it."""
    offered = [
        ("query", "Use as query", "Search for what is like this, and for nothing else"),
        ("more", "More like this", "Add this to the query as something you like"),
        ("less", "Less like this", "Add this to the query as something you do not want"),
    ]
    if item.visual and file is not None:
        offered.append(("choose", "Search this region", "Draw a rectangle, and search for what is in it"))
        if item.kind == "video":
            offered.append(("moment", "Search from this moment", "Search with the frame that the video shows now"))
    if hit is not None:
        offered.append(("why", "Why this result?", "Which places or words of it the score came from"))
    drawn = "".join(
        f'<button type="button" class="mm-try{" mm-lead" * (do == "query")}" data-do="{do}" title="{says}" '
        f'data-item="{escape(item.id)}"{PRESSED * (do == "choose")}>{name}</button>'
        for do, name, says in offered
    )
    keep = '<label class="mm-hint mm-keep"><input type="checkbox" data-keep> Keep the other parts of the query</label>'
    return f'<div class="mm-asks">{drawn}</div>{keep}<p class="mm-hint mm-told" aria-live="polite"></p>'


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


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


# --- how it was found ------------------------------------------------------------------------------------------------


def _trail(trail: Sequence[Mark]) -> str:
    """Rank and score of a hit at every stage, as a plot where there is more than one, and as a table."""
    rows = [(mark.stage, mark.rank, f"{mark.score:.4f}") for mark in trail]
    hints = [f'<p class="mm-hint">{escape(line)}</p>' for line in _scales(trail)]
    said = table("What each stage thought of it", ("stage", "rank", "score"), rows, numbers=(1, 2))
    return "".join([said, _ranks(trail), *hints])


def _scales(trail: Sequence[Mark]) -> list[str]:
    """What the numbers of a trail count, where they are not all cosines."""
    joined = [mark.stage for mark in trail if mark.stage.endswith("@all")]
    lines = [f"Scores of {stage}: {STANDARDISED}; of one view: {_counted(stage)}." for stage in joined]
    words = any(is_lexical(mark.stage.partition("@")[0]) for mark in trail)
    return lines or (["Scores of bm25 add up how telling the words are that query and item share."] if words else [])


def _counted(stage: str) -> str:
    return "sums of how telling the shared words are" if is_lexical(stage.partition("@")[0]) else "cosines"


def _ranks(trail: Sequence[Mark]) -> str:
    """The ranks as a line from stage to stage, rank 1 at the top, by the logarithm of the rank."""
    if len(trail) < 2:
        return ""
    deepest = math.log(max(2, *(mark.rank for mark in trail)))
    step = 300 / (len(trail) - 1)
    points = [(20 + step * i, 16 + 44 * math.log(mark.rank) / deepest) for i, mark in enumerate(trail)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<g><title>{escape(mark.stage)}: rank {mark.rank}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
        f'<text x="{x:.1f}" y="{y + 15:.1f}">{mark.rank}</text></g>'
        for (x, y), mark in zip(points, trail, strict=True)
    )
    about = "; ".join(f"{mark.stage}: {mark.rank}" for mark in trail)
    return (
        f'<figure class="mm-ranks"><svg viewBox="0 0 340 80" role="img" aria-label="Rank by stage: {escape(about)}">'
        f'<polyline points="{line}"/>{dots}</svg><figcaption class="mm-hint">Rank from stage to stage, in the order of '
        "the table; the higher the better.</figcaption></figure>"
    )


def contributed(brought: Contribution) -> str:
    """What each part of the query brought to a score, with the sum where they add up."""
    most = max((abs(value) for value in brought.values), default=0.0) or 1.0
    rows = "".join(
        f'<tr><td>{escape(part)}</td><td class="mm-signed">{_bar(value / most)}</td>'
        f'<td class="mm-number">{value:+.4f}</td></tr>'
        for part, value in zip(brought.parts, brought.values, strict=True)
    )
    if brought.additive:
        total = math.fsum(brought.values)
        whole = f'<tr class="mm-sum"><td>together</td><td></td><td class="mm-number">{total:+.4f}</td></tr>'
        hint = ""
    else:
        whole, hint = "", '<p class="mm-hint">Each part’s own score; this way of composing does not add them up.</p>'
    return (
        '<div class="mm-scroll"><table class="mm-table mm-partly"><caption>What each part of the query brought, by '
        f'<code>{escape(brought.source)}</code></caption><thead><tr><th scope="col">part</th><th></th>'
        f'<th scope="col" class="mm-number">score</th></tr></thead><tbody>{rows}{whole}</tbody></table></div>{hint}'
    )


def _bar(share: float) -> str:
    """A bar from the middle, to the right for what speaks for a hit."""
    side = "left:50%" if share >= 0 else f"left:{50 + 50 * share:.1f}%"
    tone = "mm-for" if share >= 0 else "mm-against"
    return f'<span class="mm-track"><span class="{tone}" style="{side};width:{50 * abs(share):.1f}%"></span></span>'
