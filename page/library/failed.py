"""The files that could not be read: what to read again, and the table that says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.walk import Source, walk
from mmretrieval.errors import RetrievalError
from page.notices import counted, escape, notice

if TYPE_CHECKING:
    from mmretrieval.library import Library
    from page.state import Page

FAILURES_SHOWN = 200
# Says to the page which button of the table was pressed. (An object with a `path` Gradio would take for an upload.)
JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (button) trigger('select', {do: button.dataset.do, file: button.dataset.file || ''});
});
"""


def wanted(library: Library, paths: Sequence[str]) -> list[str]:
    """The failed paths among these, or all of them for none. Raises RetrievalError where a path has not failed."""
    failed = [failure.path for failure in library.failures()]
    unknown = sorted(set(paths) - set(failed))
    if unknown:
        raise RetrievalError(
            f"{unknown[0]} is no file that could not be read: the Library tab and `python -m ingest status` list them"
        )
    chosen = [path for path in failed if path in set(paths)] if paths else failed
    if not chosen:
        raise RetrievalError("every file could be read: there is nothing to try again")
    return chosen


def sources(paths: Sequence[str]) -> Iterator[Source]:
    """What to ingest to try these paths again: a caption file by its folder; what is gone now is left out."""
    seen: set[str] = set()
    for path in paths:
        place = Path(path)
        again = place.parent if place.name.lower() == "captions.jsonl" else place
        if not _there(again):
            continue
        for source in walk([again]):
            if source.path not in seen:
                seen.add(source.path)
                yield source


def gone(paths: Sequence[str]) -> int:
    """How many of the paths are no longer there."""
    return sum(not _there(Path(path)) for path in paths)


def _there(path: Path) -> bool:
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):
        return False


def table(page: Page) -> str:
    """The files that could not be read, each with its reason and, where the page may change things, what to do."""
    failed = page.library.failures()
    if not failed:
        return notice("Every file could be read.")
    cut = f"; the first {FAILURES_SHOWN} of them" if len(failed) > FAILURES_SHOWN else ""
    rows = "".join(
        f"<tr><td>{escape(one.path)}</td><td>{escape(one.reason)}</td>"
        f"{'' if page.read_only else f'<td>{_buttons(one.path)}</td>'}</tr>"
        for one in failed[:FAILURES_SHOWN]
    )
    act = "" if page.read_only else '<th scope="col">what to do</th>'
    everything = (
        "" if page.read_only else '<p class="mm-act"><button class="mm-try" data-do="retry">Try all again</button></p>'
    )
    return (
        f'<div class="mm-scroll"><table class="mm-table mm-failed">'
        f"<caption>{escape(counted(len(failed), 'file'))} could not be read{cut}</caption>"
        f'<thead><tr><th scope="col">file</th><th scope="col">reason</th>{act}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{everything}"
    )


def _buttons(path: str) -> str:
    return (
        f'<button class="mm-try" data-do="retry" data-file="{escape(path)}" '
        f'aria-label="Try {escape(path)} again">Try again</button> '
        f'<button class="mm-try" data-do="forget" data-file="{escape(path)}" '
        f'aria-label="Take {escape(path)} off this list">Take off the list</button>'
    )
