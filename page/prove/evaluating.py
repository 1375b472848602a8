"""The proof of a fix: `python -m eval fix` on the page's dataset in a process of its own; what it found, as HTML."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from eval import plots
from eval.fixing import named
from eval.metrics import METRICS
from eval.saving import Offer, toolbar
from eval.tables import Cell, Table, file_name, provenance
from mmretrieval.errors import DatasetError, RetrievalError, pick
from mmretrieval.findings import Finding, Plot, Trace
from page import arguments
from page.jobs import Job
from page.notices import counted, escape, notice, table
from page.prove.drawn import saved
from page.prove.findings import MOST_SEED, WITH_DATASET, Found, Wanted
from page.state import ROOT

if TYPE_CHECKING:
    from page.state import Page

logger = logging.getLogger("page")
MOST_STAGES = 16
# What a terminal's bar draws: codes, and `what ━━━━ 3/11`.
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
STEP = re.compile(r"(?P<what>[^━╸╺]*?)[\s━╸╺]+(?P<done>\d+)/(?P<of>\d+)")
# What bars of no step of the proof are of.
BARS = {"items": "reading the dataset", "": "reading the dataset", "fix": "embedding the queries"}
TAIL_CHARS = 20_000
NICE = 10


def start(page: Page, recipe: object, stages: object = (), metric: object = "", seed: object = 0) -> Job:
    """Begins the proof: every value checked, the work in the background.

    No stages are the usual ones, no metric the dataset's own. Raises RetrievalError on a page that is read-only or has
    no dataset, and for what cannot be.
    """
    page.check_writable()
    if page.dataset is None:
        raise RetrievalError(f"this page has no dataset to prove anything on: {WITH_DATASET}")
    chosen = page.permitted(arguments.text(recipe, "the recipe").strip() or page.library.default_recipe)
    tries = tuple(dict.fromkeys(s.strip() for s in arguments.names(stages, "the stages") if s.strip()))
    if len(tries) > MOST_STAGES:
        raise RetrievalError(f"{len(tries)} stages are to be tried, at most {MOST_STAGES} are: leave some out")
    for stage in tries:
        page.permitted(f"{chosen.sources[0].encoder}@visual,{stage}")
    judged = arguments.text(metric, "the metric") or page.dataset.main_metric
    pick(dict.fromkeys(METRICS), judged, "metric")
    drawn = arguments.whole(seed, "seed", 0, MOST_SEED)
    command = [sys.executable, "-m", "eval", "fix", "--dataset", str(page.dataset.folder.absolute())]
    command += ["--recipe", str(chosen), "--metric", judged, "--seed", str(drawn), "--out", str(page.evaluation)]
    command += ["--workers", "1", "--json", *(word for stage in tries for word in ("--try", stage))]

    def work(job: Job) -> str:
        job.found = run(page, job, command) | {"finished": time.time()}
        return _noted(job.found)

    title = f"{judged} of {chosen}, {', '.join(tries) or 'the usual stages'}, seed {drawn}"
    return page.proofs.start(title, work, note="begins")


def recall(page: Page) -> None:
    """Takes up the newest report that an earlier page left with the library, where none is on this page yet."""
    if page.dataset is None or page.proofs.job is not None:
        return
    reports = (page.library.path / "evaluation").glob("fix-*.json")
    for report in sorted(reports, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            record = json.loads(report.read_text(encoding="utf-8"))
            if record["dataset"] != page.dataset.name:
                continue
            record["finished"] = report.stat().st_mtime
            shown(page, record)  # of an older form, or spoilt: then it is found out here, not before a visitor
            note = _noted(record)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            logger.warning("%s is no report that can be shown (%r): delete it, or prove it again", report, error)
            continue
        job = Job(f"{record['metric']} of {record['recipe']}, seed {record['seed']}", "done", note, found=record)
        job.ended = job.started
        page.proofs.job = job
        return


def _noted(record: Mapping[str, Any]) -> str:
    return f"{len(record['rows'])} changes judged on {record['held_out']} queries"


def run(page: Page, job: Job, command: Sequence[str]) -> dict[str, Any]:
    """Runs the command to its end and tells the job how far it is. Raises DatasetError with what it said if it failed.

    The process knows nothing of the page, and takes what the processor has left.
    """
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
    with tempfile.TemporaryFile() as out:
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.PIPE) as process:
            page.proving = process
            if job.stopping:  # the page has closed since, and looked for a process before there was one
                process.terminate()
            if hasattr(os, "setpriority"):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
            assert process.stderr is not None
            said = _followed(process.stderr, job)
            code = process.wait()
        page.proving = None
        if code < 0:
            raise DatasetError("it was stopped before its end")
        out.seek(0)
        lines = out.read().decode(errors="replace").strip().splitlines()
    if code or not lines:
        _, found, problem = said.rpartition("error: ")
        raise DatasetError(" ".join(problem.split()) if found else f"it ended with code {code}: {said[-400:]}")
    record: dict[str, Any] = json.loads(lines[-1])
    return record


def stop(page: Page) -> None:
    """Ends the proof that runs, if one does."""
    if (process := page.proving) is not None and process.poll() is None:
        process.terminate()


def _followed(stream: IO[bytes], job: Job) -> str:
    """Reads what a process says until it ends, and takes its bars for the job's; gives the last of its words."""
    said = ""
    while piece := os.read(stream.fileno(), 65_536):
        said = (said + CODES.sub("", piece.decode(errors="replace")))[-TAIL_CHARS:]
        steps = list(STEP.finditer(re.split(r"[\r\n]", said.rstrip())[-1]))
        if steps:
            last = steps[-1]
            told = " ".join(last["what"].split())
            job.note = BARS.get(told, told)
            job.done, job.total = int(last["done"]), int(last["of"]) if told != "fix" else 0
    return said


# --- what it found ---------------------------------------------------------------------------------------------------


def progress(job: Job | None) -> str:
    """The proof that runs or ran last: a bar and what is being done."""
    from page.search.cards import clock

    if job is None or job.state == "done":
        return ""
    if job.state == "failed":
        return notice(f"{job.title}: {job.note}", "warning")
    share = job.done / job.total if job.total else 0.0
    step = f" ({job.done} of {job.total})" if job.total else ""
    return (
        f'<div class="mm-job" role="status"><strong>{escape(job.title)}</strong>'
        f'<progress max="1" value="{share:.3f}" aria-label="how much of this step is done">{share:.0%}</progress>'
        f"<span>{escape(job.note)}{step}, {clock(job.seconds)} so far</span></div>"
    )


def shown(page: Page, record: Mapping[str, Any]) -> str:
    """Verdicts, the held-out half as plot and table, and what was tried."""
    rows = record["rows"]
    verdicts = "".join(f"<li><span>{_flag(row)}{_verdict(row)}</span>{_button(record, row)}</li>" for row in rows)
    n = f"{record['held_out']} held-out queries"
    return (
        f'<div class="mm-found"><p class="mm-summary"><code>{escape(record["recipe"])}</code> on '
        f"{escape(record['dataset'])}: {record['fitting']} queries to choose and fit on, {n} to judge on, seed "
        f'{record["seed"]}{_dated(record)}</p><ul class="mm-verdicts">{verdicts}</ul>'
        f'<div class="mm-columns">{_plot(page, record)}'
        f'<section class="mm-cell mm-boxed"><h3>On {n}</h3>{_held_out(record)}'
        f'<p class="mm-hint">Difference from the recipe as it is, with its 95 % interval; p of a paired permutation '
        f"test, after Holm; smallest: the effect below which this many queries would have shown nothing; ms: a query "
        f"beside embedding it; bytes: an item’s vector. {TRANSDUCTIVE if _any_transductive(rows) else ''}</p>"
        f"{_files(record)}</section>"
        f"</div><details><summary>What was tried on the other half: {counted(len(record['tried']), 'change')}</summary>"
        f"{_tried(record)}</details></div>"
    )


def _dated(record: Mapping[str, Any]) -> str:
    """When it was finished, in the time of this machine."""
    if "finished" not in record:
        return ""
    ended = datetime.datetime.fromtimestamp(record["finished"]).astimezone()
    return f'. <time datetime="{ended.isoformat(timespec="seconds")}">{ended:%Y-%m-%d %H:%M %Z}</time>'


TRANSDUCTIVE = "Transductive: it saw all held-out queries at once, which a search of one query cannot."


def _any_transductive(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row["transductive"] for row in rows)


def _flag(row: Mapping[str, Any]) -> str:
    return '<span class="mm-flag">transductive</span> ' if row["transductive"] else ""


def _verdict(row: Mapping[str, Any]) -> str:
    """The verdict, the change that it begins with set apart."""
    name, text = ",".join(row["stages"]), row["verdict"]
    apart = bool(name) and text.startswith(name)
    return f"<code>{escape(name)}</code>{escape(text[len(name) :])}" if apart else escape(text)


def _name(change: Mapping[str, Any]) -> str:
    """What a change is called; reports of an older form do not say what it replaces."""
    return named(change["stages"], change.get("replaces", ()))


def _button(record: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    about = f"Compare {_name(row)} with the recipe as it is"
    return (
        f'<button type="button" class="mm-try" data-try="compare" data-recipe="{escape(record["recipe"])}" '
        f'data-changed="{escape(row["recipe"])}" aria-label="{escape(about)}">Compare</button>'
    )


def _held_out(record: Mapping[str, Any]) -> str:
    plain = record["plain_cost"]
    cells: list[tuple[object, ...]] = [
        ("(as it is)", f"{record['plain']:.3f}", "", "", "", *_cost(plain)),
    ]
    for row in record["rows"]:
        c = row["comparison"]
        name = _name(row) + (" (transductive)" if row["transductive"] else "")
        difference = f"{c['difference']:+.3f} [{c['low']:+.3f}, {c['high']:+.3f}]"
        numbers = f"{c['mean_b']:.3f}", difference, f"{row['p_holm']:.4f}", _smallest(row["smallest"])
        cells.append((name, *numbers, *_cost(row["cost"])))
    heads = ("change", record["metric"], "difference, 95 %", "p (Holm)", "smallest", "ms", "bytes")
    return table("", heads, cells, numbers=range(1, 7))


def _smallest(value: float | None) -> str:
    """Nothing where so few queries differ that no effect could have shown."""
    return "—" if value is None else f"{value:.3f}"


def _cost(cost: Mapping[str, float]) -> tuple[str, str]:
    return f"{cost['milliseconds']:.2f}", f"{cost['item_bytes']:,g}"


def _tried(record: Mapping[str, Any]) -> str:
    able = sorted((t for t in record["tried"] if t["value"] is not None), key=lambda t: -t["difference"])
    cells: list[tuple[object, ...]] = [("(as it is)", f"{record['plain_fitting']:.3f}", "", "")]
    cells += [(_name(t), f"{t['value']:.3f}", f"{t['difference']:+.3f}", "") for t in able]
    cells += [(_name(t), "", "", t["problem"]) for t in record["tried"] if t["value"] is None]
    heads = ("change", record["metric"], "difference", "why not")
    some = len(heads) if len(able) < len(record["tried"]) else len(heads) - 1
    return table("", heads[:some], [c[:some] for c in cells], numbers=(1, 2))


def _plot(page: Page, record: Mapping[str, Any]) -> str:
    """The differences with their intervals, drawn as the plots of findings are."""
    compared = [row["comparison"] for row in record["rows"]]
    plot = Plot(
        name="differences",
        title=f"What each change does to {record['metric']}",
        x="change of the recipe",
        y=f"difference in {record['metric']} (of at most 1)",
        traces=(
            Trace(
                "held-out queries",
                tuple(_name(row) for row in record["rows"]),
                tuple(c["difference"] for c in compared),
                "points",
                tuple(c["low"] for c in compared),
                tuple(c["high"] for c in compared),
            ),
        ),
        note="An interval that does not hold 0 tells a change from none, before Holm’s correction.",
        zero=True,
    )
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    wanted = Wanted("dataset", record["recipe"], "fix", 0, record["seed"], classes=digest)
    finding = Finding("fix", "", {}, plots=(plot,), basis=_basis(record))
    found = Found(wanted, record["recipe"], finding, {}, 0.0)
    key = page.findings.keep(found)
    return (
        f'<section class="mm-cell mm-boxed"><h3>{escape(plot.title)}</h3><p class="mm-hint">{escape(plot.note)}</p>'
        f'<div class="mm-plot" role="img" aria-label="{escape(plot.title)}" style="min-height:{plots.HEIGHT}px" '
        f'data-figure="finding/{quote(key)}/figure/0"></div>{saved(found, 0, key)}</section>'
    )


def _basis(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a proof was measured on; reports of an older form do not say their versions."""
    return {"n": record["held_out"], "seed": record["seed"], "versions": record.get("versions")}


def _files(record: Mapping[str, Any]) -> str:
    """The table of the held-out half as a file."""
    judged = record["metric"], "difference", "95 % interval, low", "95 % interval, high", "p", "p (Holm)"
    costs = "time of a query (ms)", "size of an item (bytes)"
    heads = ("change", *judged, "smallest effect that would show", "transductive", *costs)
    nothing = (None,) * 6
    cost = record["plain_cost"]
    rows: list[tuple[Cell, ...]] = [
        ("(as it is)", record["plain"], *nothing, "no", cost["milliseconds"], cost["item_bytes"])
    ]
    for row in record["rows"]:
        c, cost = row["comparison"], row["cost"]
        told = c["mean_b"], c["difference"], c["low"], c["high"], c["p"], row["p_holm"], row["smallest"]
        whole = "yes" if row["transductive"] else "no"
        rows.append((_name(row), *told, whole, cost["milliseconds"], cost["item_bytes"]))
    about = provenance(_basis(record), recipe=record["recipe"], dataset=record["dataset"])
    name = file_name("fix", record["dataset"], record["recipe"], "held-out")
    return toolbar(Offer(name, "The held-out queries", about, csv=Table(heads, tuple(rows)).address(about)))
