"""The Library tab: what is in it, what failed and why; add files, remove them, add encoders meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval import catalog
from mmretrieval.errors import RetrievalError
from mmretrieval.media import KINDS
from mmretrieval.types import VIEWS, Card
from page.asking import KIND_NAMES
from page.cards import clock
from page.jobs import Job
from page.notices import Outcome, attempt, counted, escape, notice, removed, table
from page.search import FREE

if TYPE_CHECKING:
    from page.state import Page

FAILURES_SHOWN = 200
# Caption and subtitle files may come along with the media they speak of.
SIDECARS = (".json", ".jsonl", ".srt", ".vtt")


def overview(page: Page) -> str:
    """What the library holds, in numbers."""
    status = page.library.status()
    kinds = ", ".join(f"{n:,} {KIND_NAMES.get(kind, kind)}{'s' if n != 1 else ''}" for kind, n in status.kinds.items())
    tiles = [
        ("items", f"{status.items:,}", kinds or "nothing yet"),
        ("files", f"{status.files:,}", f"{status.failures} could not be read" if status.failures else "all read"),
        ("vectors", _size(status.embedding_bytes), f"index {_size(status.index_bytes)}"),
        ("thumbnails", _size(status.thumbnail_bytes), ""),
    ]
    boxes = "".join(
        f'<div class="mm-tile"><span class="mm-label">{label}</span><span class="mm-figure">{escape(figure)}</span>'
        f"<span>{escape(more)}</span></div>"
        for label, figure, more in tiles
    )
    rows = [
        (spec, *(views.get(view, 0) for view in VIEWS), licence(catalog.card(spec)))
        for spec, views in status.encoders.items()
    ]
    heads = ("encoder", *VIEWS, "licence of its weights")
    encoders = table("Vectors by encoder and view", heads, rows, numbers=(1, 2, 3))
    absent = [f"{spec} is not to be had, and cannot be searched: {why}" for spec, why in status.absent.items()]
    trouble = "".join(notice(said, "warning") for said in [page.index_problem, *absent])
    where = f'<p class="mm-path">{escape(status.path)}</p>'
    return f'{where}<div class="mm-tiles">{boxes}</div>{trouble}{encoders}'


def licence(card: Card) -> str:
    """The licence of an encoder's weights, and whether it forbids commercial use."""
    return card.licence if card.commercial else f"{card.licence} (no commercial use)"


def failures(page: Page) -> str:
    """The files that could not be read, each with its reason."""
    failed = page.library.failures()
    if not failed:
        return notice("Every file could be read.")
    caption = f"{counted(len(failed), 'file')} could not be read" + (
        f"; the first {FAILURES_SHOWN} of them" if len(failed) > FAILURES_SHOWN else ""
    )
    return table(caption, ("file", "reason"), [(f.path, f.reason) for f in failed[:FAILURES_SHOWN]])


def progress(job: Job | None) -> str:
    """The job that runs or ran last: a bar, counts, and what failed in it."""
    if job is None:
        return ""
    if job.state == "failed":
        return notice(f"{job.title}: {job.note}", "error")
    rate = f"{job.done / job.seconds:.1f} items/s" if job.seconds > 0.5 and job.done else ""
    if job.state == "running":
        counts = ", ".join(
            filter(None, [job.note, f"{counted(job.done, 'item')} done", rate, f"{clock(job.seconds)} so far"])
        )
    else:
        counts = f"{job.note} in {clock(job.seconds)}"
    return (
        f'<div class="mm-job" role="status"><strong>{escape(job.title)}</strong>'
        f'<progress max="1" value="{job.share:.3f}" aria-label="how much is done">{job.share:.0%}</progress>'
        f"<span>{'Done: ' if job.state == 'done' else ''}{escape(counts)}</span></div>"
    )


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


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.2f} GB"


# --- widgets ---------------------------------------------------------------------------------------------------------


class Panels(NamedTuple):
    """The widgets that change the library; those that this page may not offer are None."""

    changes: list[tuple[Any, Callable[..., Job], Any]]
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
    return Panels(changes, remove, path, encoder)


def build(page: Page) -> tuple[list[Any], Callable[[], tuple[Any, ...]]]:
    """Lays out the tab and wires it; gives the widgets to fill on every visit, and what fills them."""
    timer = gr.Timer(1.0, active=False)
    status = gr.HTML(elem_id="status")
    refresh = gr.Button("Look again", size="sm", elem_id="refresh", elem_classes="mm-plain")
    problem = gr.HTML(elem_id="library-problem")
    job = gr.HTML(elem_id="job")
    panels = _panels(page)
    encoder = panels.encoder
    failed = gr.HTML(elem_id="failures")

    def look() -> tuple[Any, ...]:
        outcome: Outcome[tuple[str, str]] = attempt(lambda: (overview(page), failures(page)))
        shown = outcome.value or (notice(outcome.problem, "error"), "")
        menu = (gr.Dropdown(choices=available(page.library.encoders)),) if encoder is not None else ()
        return *shown, progress(page.board.job), gr.Timer(active=page.board.running), *menu

    def started(work: Callable[..., Job], widget: Any) -> Callable[..., tuple[Any, ...]]:
        def handler(value: Any) -> tuple[Any, ...]:
            outcome = attempt(lambda: work(value))
            told = notice(outcome.problem, "warning"), *look()
            # What was taken is gone from its field; the encoder's menu is filled anew by look().
            emptied = gr.update() if outcome.problem else gr.update(value=None)
            return told if widget is encoder else (emptied, *told)

        return handler

    def on_remove(value: str) -> tuple[Any, ...]:
        outcome = attempt(lambda: page.remove([value.strip()] if value and value.strip() else []))
        done = f"{removed(outcome.value or 0)} from the library; the file itself was not touched."
        told = notice(outcome.problem, "warning") if outcome.value is None else notice(done)
        return told, *look()

    outputs = [status, failed, job, timer, *([encoder] if encoder is not None else [])]
    for button, work, widget in panels.changes:
        emptied = [] if widget is encoder else [widget]
        button.click(started(work, widget), [widget], [*emptied, problem, *outputs], **FREE)
    if panels.remove is not None:
        panels.remove.click(on_remove, [panels.path], [problem, *outputs], **FREE)
    timer.tick(look, outputs=outputs, **FREE)
    refresh.click(look, outputs=outputs, **FREE)
    return outputs, look
