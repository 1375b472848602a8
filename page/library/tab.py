"""The Library tab: what is in it, what failed and why; add files, remove them, add encoders meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval import catalog
from mmretrieval.errors import RetrievalError
from mmretrieval.media import KINDS
from mmretrieval.types import VIEWS, Card, View
from page import arguments
from page.events import FREE, TURN
from page.jobs import Job
from page.library import copies, disk, failed
from page.notices import attempt, counted, escape, notice, removed, table
from page.query.asking import KIND_NAMES
from page.search.cards import clock

if TYPE_CHECKING:
    from mmretrieval.library import Library, Status
    from page.state import Page

ENCODERS_SAY = "How many of the items that have a picture, words or both have the encoder’s vector of them."
DISK_SAYS = "Every file of the library’s folder; the parts add up to it. The originals stay where they are."
DUPLICATES_SAY = "Files of the same bytes are one item; pictures that only look the same are several."
VIEW_HEADS: dict[View, str] = {"visual": "pictures", "text": "words", "joint": "both at once"}
# Caption and subtitle files may come along with the media they speak of.
SIDECARS = (".json", ".jsonl", ".srt", ".vtt")


def overview(page: Page) -> str:
    """What the library holds, in numbers."""
    status = page.library.status()
    kinds = ", ".join(f"{n:,} {KIND_NAMES.get(kind, kind)}{'s' if n != 1 else ''}" for kind, n in status.kinds.items())
    total = sum(part.bytes for part in disk.parts(page.library))
    tiles = [
        ("items", f"{status.items:,}", kinds or "nothing yet"),
        ("files", f"{status.files:,}", f"{status.failures:,} could not be read" if status.failures else "all read"),
        ("encoders", f"{len(status.encoders)}", ", ".join(status.encoders) or "none is to be had"),
        ("on disk", disk.size(total), f"{disk.size(status.embedding_bytes)} of it embeddings"),
    ]
    boxes = "".join(
        f'<div class="mm-tile"><span class="mm-label">{label}</span><span class="mm-figure">{escape(figure)}</span>'
        f"<span>{escape(more)}</span></div>"
        for label, figure, more in tiles
    )
    stale = [index.recipe for index in status.recipe_indexes if not index.fresh]
    absent = [f"{spec} is not to be had, and cannot be searched: {why}" for spec, why in status.absent.items()]
    old = [
        f"The index of {recipe} is of an earlier state of the library, and searches scan instead: `python -m ingest "
        "index --recipe` builds it anew."
        for recipe in stale
    ]
    trouble = "".join(notice(said, "warning") for said in [page.index_problem, *absent, *old])
    where = f'<p class="mm-path">{escape(status.path)}</p>'
    return f'{where}<div class="mm-tiles">{boxes}</div>{trouble}'


def holdings(page: Page) -> str:
    """The library's encoders with what they cover, and what it takes on disk, part by part."""
    status = page.library.status()
    recipes = sum(index.bytes for index in status.recipe_indexes)
    encoders = heading("Encoders", ENCODERS_SAY) + encoders_of(page.library, status)
    return encoders + heading("Disk use", DISK_SAYS) + disk.drawn(disk.parts(page.library, recipes))


def heading(title: str, says: str) -> str:
    """A heading with a line on what stands below it."""
    return f'<h3 class="mm-part">{escape(title)}</h3><p class="mm-hint">{escape(says)}</p>'


def encoders_of(library: Library, status: Status) -> str:
    """Of each encoder: how many of the items that have something for it to read have its vectors, by view."""
    sizes = disk.by_encoder(library)
    there = library.ledger.content_counts()
    rows = []
    for spec, views in status.encoders.items():
        card = catalog.card(spec)
        cells = [_covered(views.get(view, 0), there[view], view in _made(card)) for view in VIEWS]
        rows.append((spec, *cells, f"{card.dim:,}", disk.size(sizes[spec]), licence(card)))
    heads = (
        "encoder",
        *(VIEW_HEADS[view] for view in VIEWS),
        "length of a vector",
        "on disk",
        "licence of its weights",
    )
    return f'<div class="mm-holdings">{table("", heads, rows, numbers=range(1, 6))}</div>'


def _made(card: Card) -> set[View]:
    """The views that an encoder makes vectors of."""
    sees = bool({"image", "frames"} & set(card.reads))
    made: set[View] = {"visual"} if sees else set()
    made |= {"text"} if "text" in card.reads else set()
    return made | ({"joint"} if card.joint and len(made) == 2 else set())


def _covered(have: int, there: int, made: bool) -> str:
    if not made and not have:
        return "not its kind"
    return f"{have:,} of {there:,}" if have < there else f"all {have:,}"


def licence(card: Card) -> str:
    """The licence of an encoder's weights, and whether it forbids commercial use."""
    return card.licence if card.commercial else f"{card.licence} (no commercial use)"


def failures(page: Page) -> str:
    """The files that could not be read, each with its reason."""
    return failed.table(page)


def duplicates(page: Page) -> str:
    """The contents that several paths hold."""
    return copies.drawn_same(copies.same(page.library))


def progress(job: Job | None) -> str:
    """The job that runs or ran last: a bar, how fast and how long still, what is being read, what failed in it."""
    if job is None:
        return ""
    if job.state == "failed":
        return notice(f"{job.title}: {job.note}", "error")
    wrong = "".join(f"<li>{escape(path)}: {escape(reason)}</li>" for path, reason in reversed(job.failures))
    of = f" (the last {len(job.failures)})" if job.failed > len(job.failures) else ""
    said = (
        f'<p class="mm-hint">{counted(job.failed, "file")} could not be read{of}:</p><ul>{wrong}</ul>' if wrong else ""
    )
    verb = {"running": "", "done": "Done: ", "stopped": "Stopped: "}[job.state]
    counts = _pace(job) if job.state == "running" else f"{job.note} in {clock(job.seconds)}"
    reading = f'<span class="mm-path">reading {escape(job.reading)}</span>' if job.reading else ""
    return (
        f'<div class="mm-job" role="status"><strong>{escape(job.title)}</strong>'
        f'<progress max="1" value="{job.share:.3f}" aria-label="how much is done">{job.share:.0%}</progress>'
        f"<span>{verb}{escape(counts)}</span>{reading}{said}</div>"
    )


def _pace(job: Job) -> str:
    """How far a running job is, how fast, and how long it will take."""
    rate, left = job.rate, job.seconds_left
    told = [
        "stopping after the items that are being embedded now" if job.stopping else job.note,
        f"{job.done:,} of {counted(job.expected, 'item')}" if job.expected else "",
        f"{rate:.1f} a second" if rate is not None else "",
        f"{clock(job.seconds)} so far",
        f"about {clock(left)} left" if left else "",
    ]
    return ", ".join(filter(None, told))


def available(encoders: Sequence[str]) -> list[tuple[str, str]]:
    """(label, name) of every encoder of the catalogue that the library lacks, those that run here first."""
    offered = []
    for name, card in catalog.cards().items():
        if card.spec in encoders:
            continue
        missing = _missing(name)
        fetched = f"not here yet: `python -m models pull {name}` fetches it"
        state = (fetched if catalog.blocks()[name].card else f"not here: {missing}") if missing else "ready"
        terms = "" if card.commercial else f", {licence(card)}"
        offered.append((bool(missing), f"{name} — {state}{terms}", name))
    return [(label, name) for _, label, name in sorted(offered, key=lambda o: o[0])]


def _missing(name: str) -> str:
    try:
        return catalog.missing(name)
    except RetrievalError as error:
        return str(error)


# --- widgets ---------------------------------------------------------------------------------------------------------


class Panels(NamedTuple):
    """The widgets that change the library; those that this page may not offer are None."""

    changes: list[tuple[Any, Callable[..., Job], Any]]
    stop: Any = None
    remove: Any = None
    path: Any = None
    encoder: Any = None


def _panels(page: Page) -> Panels:
    if page.read_only:
        gr.HTML(notice("This page is read-only: it shows the library and changes nothing."))
        return Panels([])
    changes: list[tuple[Any, Callable[..., Job], Any]] = []
    with gr.Row(equal_height=False, elem_classes="mm-panels"):
        with gr.Column(min_width=280):
            suffixes = sorted({s for kind in KINDS.values() for s in kind.suffixes} | set(SIDECARS))
            label = "Files to add (with their captions)"
            files = gr.File(label=label, file_count="multiple", file_types=suffixes, height=150, elem_id="files")
            button = gr.Button("Add files", variant="primary", elem_id="add-files")
            changes.append((button, lambda chosen: page.add_uploads(chosen or []), files))
        with gr.Column(min_width=280):
            if page.trusted:
                label = "Folder or file on the machine that runs this page"
                folder = gr.Textbox(label=label, placeholder="/path/to/pictures", elem_id="folder")
                button = gr.Button("Add folder", elem_id="add-folder")
                changes.append((button, page.add_folder, folder))
            encoders = available(page.library.encoders)
            encoder = gr.Dropdown(
                encoders, value=None, label="Encoder to add", allow_custom_value=True, elem_id="encoder"
            )
            button = gr.Button("Embed everything with it", elem_id="add-encoder")
            changes.append((button, page.add_encoder, encoder))
        with gr.Column(min_width=280):
            label = "File to take out (its items; the file stays)"
            path = gr.Textbox(label=label, placeholder="the path as the page shows it", elem_id="path")
            remove = gr.Button("Remove from library", variant="stop", elem_id="remove")
    stop = gr.Button(
        "Stop", variant="stop", size="sm", visible=page.board.running, elem_id="stop", elem_classes="mm-plain"
    )
    return Panels(changes, stop, remove, path, encoder)


class Shown(NamedTuple):
    """The widgets that say how the library stands; the last two are None on a page that changes nothing."""

    status: Any
    failed: Any
    held: Any
    same: Any
    job: Any
    timer: Any
    stop: Any = None
    encoder: Any = None

    @property
    def widgets(self) -> list[Any]:
        """Those that there are."""
        return [widget for widget in self if widget is not None]


# Of Shown, what stays as it is while a job runs: it would be worked out every second.
STANDING = 4


def build(page: Page) -> tuple[list[Any], Callable[[], tuple[Any, ...]]]:
    """Lays out the tab and wires it; gives the widgets to fill on every visit, and what fills them."""
    timer = gr.Timer(1.0, active=False)
    status = gr.HTML(elem_id="status")
    problem = gr.HTML(elem_id="library-problem")
    job = gr.HTML(elem_id="job")
    panels = _panels(page)
    wrong = gr.HTML(elem_id="failures", js_on_load=failed.JS)
    held = gr.HTML(elem_id="held")
    gr.HTML(heading("Duplicates", DUPLICATES_SAY))
    same = gr.HTML(elem_id="duplicates")
    _near(page)
    refresh = gr.Button("Look again", size="sm", elem_id="refresh", elem_classes="mm-plain")
    shown = Shown(status, wrong, held, same, job, timer, panels.stop, panels.encoder)
    look = partial(_look, page)
    refresh.click(look, outputs=shown.widgets, **FREE)
    shown.timer.tick(partial(_tick, page), outputs=shown.widgets, **FREE)
    _wire_adding(page, panels, problem, shown)
    _wire_taking(page, panels, problem, shown)
    return shown.widgets, look


def _look(page: Page) -> tuple[Any, ...]:
    """Everything anew, in the order of Shown."""
    drawn = attempt(lambda: (overview(page), failures(page), holdings(page), duplicates(page)))
    said = drawn.value or (notice(drawn.problem, "error"), "", "", "")
    running = page.board.running
    going = progress(page.board.job), gr.Timer(active=running)
    if page.read_only:
        return *said, *going
    return *said, *going, gr.Button(visible=running), gr.Dropdown(choices=available(page.library.encoders))


def _tick(page: Page) -> tuple[Any, ...]:
    """While a job runs only its progress is drawn anew; all else when it has ended."""
    if not page.board.running:
        return _look(page)
    rest = () if page.read_only else (gr.skip(), gr.skip())
    return *(gr.skip() for _ in range(STANDING)), progress(page.board.job), gr.skip(), *rest


def _wire_adding(page: Page, panels: Panels, problem: Any, shown: Shown) -> None:
    def started(work: Callable[..., Job], widget: Any) -> Callable[..., tuple[Any, ...]]:
        def handler(value: Any) -> tuple[Any, ...]:
            outcome = attempt(lambda: work(value))
            told = notice(outcome.problem, "warning"), *_look(page)
            # What was taken is gone from its field; the encoder's menu is filled anew by _look().
            emptied = gr.update() if outcome.problem else gr.update(value=None)
            return told if widget is panels.encoder else (emptied, *told)

        return handler

    for button, work, widget in panels.changes:
        emptied = [] if widget is panels.encoder else [widget]
        button.click(started(work, widget), [widget], [*emptied, problem, *shown.widgets], **FREE)


def _wire_taking(page: Page, panels: Panels, problem: Any, shown: Shown) -> None:
    """Taking out, trying again and stopping; the handlers refuse on a read-only page whether or not it has buttons."""

    def take_out(value: str) -> str:
        outcome = attempt(lambda: page.remove([value.strip()] if value and value.strip() else []))
        done = f"{removed(outcome.value or 0)} from the library; the file itself was not touched."
        return notice(outcome.problem, "warning") if outcome.value is None else notice(done)

    def on_failed(event: gr.EventData) -> tuple[Any, ...]:
        wanted, path = str(event._data.get("do", "")), str(event._data.get("file", ""))
        if wanted == "forget":
            return take_out(path), *_look(page)
        outcome = attempt(lambda: page.retry([path] if path else ()))
        return notice(outcome.problem, "warning"), *_look(page)

    def on_stop() -> tuple[Any, ...]:
        outcome = attempt(page.stop)
        return notice(outcome.problem, "warning"), progress(page.board.job)

    shown.failed.select(on_failed, outputs=[problem, *shown.widgets], **TURN)
    if panels.remove is not None:
        told = [problem, *shown.widgets]
        panels.remove.click(lambda value: (take_out(value), *_look(page)), [panels.path], told, **FREE)
        panels.stop.click(on_stop, outputs=[problem, shown.job], **FREE)


def _near(page: Page) -> None:
    """Looks for pictures that are nearly the same, to their pixels or to an encoder, when somebody asks for it."""
    with gr.Accordion("Pictures that look nearly the same", open=False):
        with gr.Row(elem_classes="mm-actions"):
            by = [("their pixels", copies.PIXELS), *((name, name) for name in page.library.encoders)]
            encoder = gr.Dropdown(by, value=copies.PIXELS, label="Compared by", elem_id="near-encoder")
            least = gr.Slider(
                copies.LEAST, copies.MOST, copies.USUAL, step=0.005, label="Alike to at least", elem_id="near-least"
            )
            go = gr.Button("Look for them", elem_id="near")
        shown = gr.HTML(elem_id="near-found")

    def on_near(name: str, cosine: float) -> str:
        def work() -> str:
            chosen = arguments.text(name, "the encoder")
            spec = page.library.card(chosen).spec if chosen else copies.PIXELS
            bound = arguments.real(cosine, "how alike", copies.LEAST, copies.MOST)
            return copies.drawn_near(page, copies.near(page, spec, bound), spec, bound)

        outcome = attempt(work)
        return outcome.value if outcome.value is not None else notice(outcome.problem, "warning")

    go.click(on_near, [encoder, least], [shown], concurrency_id="near", api_visibility="private")
