"""Why this result: a heat map over its picture, its words marked, a clip's frames in a row; with all numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.saving import toolbar
from ingest.workers import read
from mmretrieval.geometry import Numbers
from mmretrieval.library.contents import cut_of, original
from mmretrieval.recipe import parse
from mmretrieval.types import Content, Item
from mmretrieval.why import GRID, Falls, Finding, Moments, Regions, Why, Words, why
from page.notices import attempt, escape, notice, table
from page.provenance import about
from page.query.asking import Asked, query
from page.search import why_saved
from page.search.cards import clock, title
from page.search.results import spoken

if TYPE_CHECKING:
    from PIL.Image import Image

    from page.state import Page

# The picture under a heat map, in pixels of its long side.
SHOWN_SIDE = 640
MOST_ROWS = 12
# Falls below this are the rounding of float32 vectors.
NOTHING = 1e-6


def found(page: Page, ident: str, asked: Asked, recipe: str, grid: int = GRID) -> Why:
    """Why an item scored as it did for a query; its file is read in another process. Raises as `why` does."""
    item = page.library.item(ident)
    wanted = query(page, asked)
    return why(page.engine, wanted, recipe, item, _content(page, item, recipe), grid=grid)


def _content(page: Page, item: Item, recipe: str) -> Content:
    """What an item holds; its pixels only where the recipe looks at them."""
    text = item.text.strip() or None
    if not item.visual or all(source.view == "text" for source in parse(recipe).sources):
        return Content(text=text)
    file = original(page.library.ledger, item)
    (reading,) = page.readers.submit(read, file, item.kind, [cut_of(item)], page.library.settings).result()
    content: Content = reading.content
    return Content(text=text, image=content.image, frames=content.frames)


def told(page: Page, ident: str, asked: Asked, recipe: str) -> str:
    """The whole answer as HTML; what went wrong as words."""

    def work() -> str:
        item = page.library.item(ident)
        chosen = str(parse(recipe))
        answer = found(page, ident, asked, recipe)
        said = about(page.library, chosen, query=spoken(page, asked), recipe=chosen, item=item.id)
        return drawn(item, answer, said)

    outcome = attempt(work)
    return outcome.value if outcome.value is not None else notice(outcome.problem, "warning")


def described(answer: Why) -> dict[str, Any]:
    """The same numbers for a program: each finding's source, score, parts, and the falls of the score and its parts."""
    return {"findings": [_described(finding) for finding in answer.findings], "notes": list(answer.notes)}


def _described(finding: Finding) -> dict[str, Any]:
    shared: dict[str, Any] = {"source": finding.source, "parts": list(finding.parts)}
    if isinstance(finding, Moments):
        return shared | {"kind": "moments", "times": list(finding.times), "scores": finding.total.tolist()}
    shared |= {"score": finding.score, "scores": finding.scores.tolist()}
    if isinstance(finding, Regions):
        layers = [finding.map(place).tolist() for place in range(len(finding.parts))]
        return shared | {"kind": "regions", "at": finding.at, "falls": finding.map().tolist(), "by_part": layers}
    pieces = [finding.text[start:end] for start, end in finding.spans]
    falls = {"falls": finding.total.tolist(), "by_part": finding.falls.tolist()}
    return shared | {"kind": "words", "pieces": pieces, "spans": [list(span) for span in finding.spans]} | falls


def waiting(ident: str) -> str:
    """What stands there while the encoder works."""
    return (
        f'<section class="mm-why" data-about="{escape(ident)}" aria-label="Why this result"><h4>Why this result?</h4>'
        '<p class="mm-hint" role="status">Hiding one place or word after the other, and scoring what is left …</p>'
        '<div class="mm-job"><progress aria-label="Working"></progress></div></section>'
    )


def drawn(item: Item, answer: Why, about: Mapping[str, object]) -> str:
    """A section for all that was found; `about` is what saved numbers say of where they come from."""
    parts = [_one(item, finding, about) for finding in answer.findings]
    notes = "".join(f'<p class="mm-hint">{escape(note)}</p>' for note in answer.notes)
    return (
        f'<section class="mm-why" data-about="{escape(item.id)}" aria-label="Why this result">'
        f"<h4>Why this result?</h4>{''.join(parts)}{notes}</section>"
    )


def _one(item: Item, finding: Finding, about: Mapping[str, object]) -> str:
    if isinstance(finding, Regions):
        return _heat(item, finding, about)
    return _marked(item, finding, about) if isinstance(finding, Words) else _frames(item, finding, about)


# --- pictures --------------------------------------------------------------------------------------------------------


def _heat(item: Item, seen: Regions, about: Mapping[str, object]) -> str:
    """The picture in grey under squares: teal where the hit rests, orange where hiding a place makes it better."""
    most = _most(seen)
    layers = [("all", "the whole query", seen.map())]
    if len(seen.parts) > 1:
        layers += [(str(i), part, seen.map(i)) for i, part in enumerate(seen.parts)]
    width, height = seen.picture.size
    cells = "".join(_cells(key, values, most, hidden=key != "all") for key, _, values in layers)
    label = f"Heat map over {title(item)}: {_said(seen)}"
    offer = why_saved.regions(item, seen, layers, most, about)
    return (
        f'<div class="mm-finding-why"><p class="mm-sentence">{_said(seen)}</p>'
        f"{_choice(layers)}"
        f'<div class="mm-heat" role="img" aria-label="{escape(label)}" style="aspect-ratio:{width}/{height};'
        f'max-width:min(100%, calc(24rem * {width / height:.4f}))"><img src="{_data(seen.picture)}" alt="">'
        f"{cells}</div>"
        f"{_legend(most)}{toolbar(offer, _numbers(seen))}</div>"
    )


def _cells(key: str, values: Numbers, most: float, *, hidden: bool) -> str:
    rows, columns = values.shape
    squares = "".join(
        f'<i class="{_tone(value)}" style="--v:{min(1.0, abs(value) / most):.3f}" '
        f'title="row {y + 1}, column {x + 1}: {value:+.4f}"></i>'
        for (y, x), value in np.ndenumerate(values)
    )
    return (
        f'<span class="mm-cells" data-layer="{key}"{" hidden" if hidden else ""} '
        f'style="grid-template:repeat({rows},1fr)/repeat({columns},1fr)">{squares}</span>'
    )


def _choice(layers: Sequence[tuple[str, str, Numbers]]) -> str:
    """Buttons for the whole query and for each of its parts; nothing where there is one."""
    if len(layers) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" class="mm-try" data-show="{key}" aria-pressed="{str(key == "all").lower()}">'
        f"{escape(name)}</button>"
        for key, name, _ in layers
    )
    return f'<div class="mm-asks" role="group" aria-label="Which part of the query">{buttons}</div>'


def _legend(most: float) -> str:
    return (
        f'<div class="mm-legend"><span>−{most:.3f}</span><span class="mm-ramp" aria-hidden="true"></span>'
        f"<span>+{most:.3f}</span></div>"
        '<p class="mm-hint">By how much the score falls when a place is hidden: teal carried the hit, orange spoke '
        "against it. A place without colour made no difference, or the encoder does not look there.</p>"
    )


def _numbers(seen: Regions) -> str:
    heads = ["row", *(str(x + 1) for x in range(seen.grid[1]))]
    rows = [[y + 1, *(f"{value:+.3f}" for value in row)] for y, row in enumerate(seen.map())]
    caption = f"Fall of the score of {seen.source}, by row and column"
    return table(caption, heads, rows, range(len(heads)))


def _data(picture: Image) -> str:
    """The picture as an address; as JPEG, which whatever opens a saved SVG can read."""
    small = picture.convert("RGB")
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}"


# --- words -----------------------------------------------------------------------------------------------------------


def _marked(item: Item, read_: Words, about: Mapping[str, object]) -> str:
    """The text with its pieces marked as strongly as they count, and the strongest as a table."""
    most, at, out = _most(read_), 0, []
    for (start, end), value in zip(read_.spans, read_.total, strict=True):
        out.append(escape(read_.text[at:start]))
        strength = min(1.0, abs(value) / most)
        out.append(
            f'<mark class="{_tone(value)}" style="--v:{strength:.3f}" title="{value:+.4f}">'
            f"{escape(read_.text[start:end])}</mark>"
        )
        at = end
    out.append(escape(read_.text[at:]))
    unit = "sentence" if read_.whole else "word"
    return (
        f'<div class="mm-finding-why"><p class="mm-sentence">{_said(read_)}</p>'
        f'<p class="mm-words mm-marked">{"".join(out)}</p>'
        f'<div class="mm-legend"><span>−{most:.3f}</span><span class="mm-ramp" aria-hidden="true"></span>'
        f'<span>+{most:.3f}</span></div><p class="mm-hint">By how much the score falls when a {unit} is left out: teal '
        f"carried the hit, orange spoke against it.</p>{_pieces(item, read_, unit, about)}</div>"
    )


def _pieces(item: Item, read_: Words, unit: str, about: Mapping[str, object]) -> str:
    names = [" ".join(read_.text[start:end].split()) for start, end in read_.spans]
    order = sorted(range(len(names)), key=lambda i: -abs(read_.total[i]))
    several = len(read_.parts) > 1
    heads = [unit, "fall", *(read_.parts if several else ())]
    rows = [
        [names[i][:80], f"{read_.total[i]:+.4f}", *((f"{v:+.4f}" for v in read_.falls[:, i]) if several else ())]
        for i in order[:MOST_ROWS]
    ]
    caption = f"Fall of the score of {read_.source}, the strongest first"
    offer = why_saved.words(item, read_, names, order, about)
    return toolbar(offer, table(caption, heads, rows, range(1, len(heads))))


# --- clips -----------------------------------------------------------------------------------------------------------


def _frames(item: Item, moments: Moments, about: Mapping[str, object]) -> str:
    """The frames' scores as bars in the order of time; each goes to its moment in the player."""
    low, high = float(min(0.0, moments.total.min())), float(moments.total.max())
    room = (high - low) or 1.0
    bars = "".join(
        f'<button type="button" data-seek="{time:.3f}" title="{clock(time)}: {value:.4f}" '
        f'aria-label="go to {clock(time)}, score {value:.3f}"><b><i style="height:{100 * (value - low) / room:.1f}%">'
        f"</i></b><span>{value:.2f}</span><span>{clock(time)}</span></button>"
        for time, value in zip(moments.times, moments.total, strict=True)
    )
    best = moments.times[int(moments.total.argmax())]
    rows = [(clock(time), f"{value:.4f}") for time, value in zip(moments.times, moments.total, strict=True)]
    numbers = table(f"Score of each frame by {moments.source}", ("time", "score"), rows, (1,))
    return (
        f'<div class="mm-finding-why"><p class="mm-sentence">Of the clip’s {len(moments.times)} frames the one at '
        f"{clock(best)} scores highest by <code>{escape(moments.source)}</code>: {high:.3f}.</p>"
        f'<div class="mm-moments">{bars}</div>{toolbar(why_saved.moments(item, moments, about), numbers)}</div>'
    )


# --- what all have ---------------------------------------------------------------------------------------------------


def _most(falls: Falls) -> float:
    """The largest fall of the score or of a part: one scale for all of them, so that they can be compared."""
    return max(float(np.abs(falls.total).max()), float(np.abs(falls.falls).max()), NOTHING)


def _tone(value: float) -> str:
    return "mm-for" if value >= 0 else "mm-against"


def _said(falls: Falls) -> str:
    """What carried the score most, in one sentence."""
    best = int(falls.total.argmax())
    fall, by = float(falls.total[best]), f"<code>{escape(falls.source)}</code>"
    if isinstance(falls, Regions):
        of = f"The frame at {clock(falls.at)} scores" if falls.at is not None else "The picture scores"
        if fall <= NOTHING:
            return f"{of} {falls.score:.3f} by {by}, and no one place carried that."
        where = _where(*divmod(best, falls.grid[1]), falls.grid)
        return f"{of} {falls.score:.3f} by {by}, most of all for its {where}: with that hidden it loses {fall:.3f}."
    unit = "sentence" if isinstance(falls, Words) and falls.whole else "word"
    if fall <= NOTHING:
        return f"The words score {falls.score:.3f} by {by}, and no one {unit} carried that."
    assert isinstance(falls, Words)
    start, end = falls.spans[best]
    said = " ".join(falls.text[start:end].split())
    said = said if len(said) <= 60 else said[:59].rstrip() + "…"
    return (
        f"The words score {falls.score:.3f} by {by}, most of all for “{escape(said)}”: without it they lose {fall:.3f}."
    )


def _where(row: int, column: int, grid: tuple[int, int]) -> str:
    """A square in words: upper left, centre, lower middle."""
    down = ("upper", "", "lower")[min(2, 3 * row // grid[0])]
    across = ("left", "", "right")[min(2, 3 * column // grid[1])]
    if not down and not across:
        return "centre"
    return f"{down or 'middle'} {across or 'middle'}"
