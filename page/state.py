"""What the whole page shares: the library, its engine, the thread that keeps up with it, what may be changed."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.pipeline import forget, ingest
from ingest.walk import walk
from ingest.workers import Workers
from mmretrieval import catalog
from mmretrieval.copies import Prints
from mmretrieval.engine import Engine
from mmretrieval.errors import BadRecipe, LibraryBusy, LibraryError, RetrievalError, StoreError
from mmretrieval.library import Library
from mmretrieval.recipe import Recipe, parse
from mmretrieval.types import Content, Part, Query
from page import arguments
from page.jobs import Board, Job, said
from page.library import failed
from page.map.mapping import Maps
from page.notices import counted
from page.paths import Paths
from page.prove.findings import Findings

if TYPE_CHECKING:
    from eval.dataset import Dataset

logger = logging.getLogger("page")
# The checkout: where commands of this project are run from.
ROOT = Path(__file__).resolve().parents[1]
TICK_SECONDS = 1.0
# The largest file that a program may send in one request.
FILE_BYTES = 100_000_000
# How often the page asks whether another process has let go of an index, or whether a new search graph pays.
RETRY_TICKS, GRAPH_TICKS = 10, 60


class Page:
    """One library as the page serves it. `trusted`: whoever reaches the page may name folders of this machine.

    `unload_after`: seconds after which an encoder that nobody searches with is let go; 0 keeps them. `dataset`: what is
    diagnosed and evaluated beside the library, if anything.
    """

    def __init__(
        self,
        library: Library,
        *,
        read_only: bool = False,
        trusted: bool = True,
        unload_after: float = 0,
        dataset: Dataset | None = None,
    ) -> None:
        self.folder = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.mkdtemp(prefix="mmretrieval-page-"))
        # What such a page makes on its way (matrices, fits, planes) goes when it ends: the library stays as it is.
        self.folder.mkdir(parents=True, exist_ok=True)
        self._caches = Path(tempfile.mkdtemp(prefix="caches-", dir=self.folder)) if read_only else None
        self.library = library if self._caches is None else Library.open(library.path, caches=self._caches)
        self.read_only, self.trusted = read_only, trusted
        self.paths = Paths(self)
        self.dataset = dataset
        self.unload_after = unload_after
        self.engine = Engine(self.library, strangers=not self.tells_paths)
        # Ingests change the library; proofs work in a folder of their own, and may go on beside them.
        self.board, self.proofs = Board(), Board()
        self.findings = Findings(self)
        self.maps = Maps(self)
        self.prints = Prints(self.library)
        self.proving: subprocess.Popen[bytes] | None = None
        self._readers: Workers | None = None
        self._reader_lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._graph: subprocess.Popen[bytes] | None = None
        self._ticks = 0
        self.index_problem = ""
        self.take_indexes()

    # --- keeping up --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to follow what other processes ingest, and loads the default recipe's encoders ahead of need."""
        for target, name in ((self._follow, "page-keeper"), (self._warm, "page-warm-up")):
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Ends the threads and lets go of the library."""
        self._stop.set()
        # Jobs start processes and write to the library: what still runs when this process ends would fall over both.
        for board in (self.board, self.proofs):
            board.close()
        if (proof := self.proving) is not None and proof.poll() is None:
            proof.terminate()
        for board in (self.board, self.proofs):
            board.wait(30)
        self.findings.close()
        self.maps.close()
        for thread in self._threads:
            thread.join(timeout=30)
        if self._graph is not None and self._graph.poll() is None:
            self._graph.terminate()
            self._graph.wait()
        with self._reader_lock:
            if self._readers is not None:
                self._readers.__exit__(None, None, None)
                self._readers = None
        self.engine.spaces.close()
        self.library.close()
        shutil.rmtree(self.folder / "views", ignore_errors=True)
        if self._caches is not None:
            shutil.rmtree(self._caches, ignore_errors=True)

    def take_indexes(self) -> None:
        """Takes the indexes for this process; where another one has them, searches scan every vector instead.

        A page that only shows takes none: it would have to write into them.
        """
        try:
            self.library.open_indexes()
            self.index_problem = ""
        except (LibraryError, StoreError) as error:  # in use elsewhere, no room, or spoilt
            self.index_problem = f"{error}. Until then searches here scan all vectors, with the same results."

    def catch_up(self) -> None:
        """Brings encoders and indexes up to what any process has put into the library."""
        fresh = Library.open(self.library.path).config
        if fresh != self.library.config:
            self.library.config = fresh
            self.take_indexes()
        if self.library.indexes_behind():
            self.library.sync_indexes()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                if self.index_problem and self._ticks % RETRY_TICKS == RETRY_TICKS - 1:
                    self.take_indexes()
                self.catch_up()
                if self.unload_after and (gone := catalog.unload_idle(self.unload_after)):
                    logger.info("let go of %s, which nobody used for a while", ", ".join(gone))
                if self._ticks % GRAPH_TICKS == GRAPH_TICKS - 1:
                    self._build_graph()
            except Exception:
                logger.exception("the index could not be brought up to the library; trying again")
            self._ticks += 1
            self._stop.wait(TICK_SECONDS)

    def _build_graph(self) -> None:
        """Lets another process build search graphs where they pay: it would stop every thread of this one."""
        if self.read_only or (self._graph is not None and self._graph.poll() is None):
            return
        if any(self.library.wants_graph(encoder) for encoder in self.library.cards()[0]):
            command = [sys.executable, "-m", "ingest", "index", "--library", str(self.library.path)]
            self._graph = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    def _warm(self) -> None:
        started = time.perf_counter()
        try:
            for source in parse(self.library.default_recipe).sources:
                catalog.load(source.encoder)
            if next(iter(self.library.items()), None) is not None:
                self.engine.rank([Query((Part(Content(text="warm up")),))], self.library.default_recipe, 1)
            logger.info("encoders loaded in %.1f s", time.perf_counter() - started)
        except RetrievalError as error:
            logger.warning("the default recipe cannot be used: %s", error)
        except Exception:
            logger.exception("the encoders could not be loaded ahead of need")

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def readers(self) -> Workers:
        """A process that decodes pictures and pages, so that a hostile file cannot hurt the page."""
        with self._reader_lock:
            if self._stop.is_set():
                raise LibraryBusy("the page is closing: open it again")
            if self._readers is None:
                self._readers = Workers(count=1, seconds=30.0)
            return self._readers

    @property
    def evaluation(self) -> Path:
        """Where the dataset's library and reports lie: with the library, or among what goes when the page ends."""
        return (self.folder if self.read_only else self.library.path) / "evaluation"

    def permitted(self, recipe: str) -> Recipe:
        """A recipe that somebody sent: of the library's encoders alone, and for strangers of models by plain names."""
        chosen = parse(recipe)
        for spec in chosen.encoders:
            self.library.card(spec)
        for stage in chosen.rerankers:
            if not self.tells_paths and stage.model and not catalog.is_plain(stage.model):
                raise BadRecipe(f"{stage}: only models that the catalogue names can be used here, without options")
        return chosen

    # --- changing ----------------------------------------------------------------------------------------------------

    @property
    def tells_paths(self) -> bool:
        """Whether visitors may name folders of this machine, and so see whole paths of it (page/paths.py)."""
        return self.trusted and not self.read_only

    def check_writable(self) -> None:
        """Raises RetrievalError on a page that only shows."""
        if self.read_only:
            raise RetrievalError("this page is read-only: start app.py without --read-only to change the library")

    def add_uploads(self, files: Sequence[str]) -> Job:
        """Copies uploaded files into the library's own folder, and ingests them in the background."""
        self.check_writable()
        if not files:
            raise RetrievalError("no files were chosen: choose some, then press the button again")
        batch = _new_batch(self.library.path / "uploads")
        for number, file in enumerate(files):
            target = batch / Path(file).name
            if target.exists():  # two files of one name in one upload
                target = batch / str(number) / target.name
                target.parent.mkdir()
            shutil.copy2(file, target)
        return self._ingest(f"{len(files)} uploaded file{'s' if len(files) > 1 else ''}", [batch])

    def add_bytes(self, name: str, data: bytes) -> Job:
        """Puts a file that a program sent into the library's own folder, and ingests it in the background."""
        self.check_writable()
        plain = Path(name.replace("\\", "/")).name
        if plain in ("", ".", "..") or not data:
            raise RetrievalError(
                f"{name[:80]!r} with {len(data)} bytes is no file: send a name with a suffix, and bytes"
            )
        with tempfile.TemporaryDirectory(dir=self.folder if self.folder.exists() else None) as folder:
            file = Path(folder) / plain
            file.write_bytes(data)
            return self.add_uploads([str(file)])

    def add_folder(self, path: str) -> Job:
        """Ingests a file or folder of this machine in the background."""
        self.check_writable()
        if not self.trusted:
            raise RetrievalError(
                "folders of this machine can be named only where the page listens on 127.0.0.1 or asks for a password: "
                "upload the files, or use `python -m ingest add`"
            )
        path = arguments.text(path, "the path", arguments.PATH_CHARS).strip()
        if not path:
            raise RetrievalError("no folder was named: write its path on the machine that runs this page")
        try:
            folder = Path(path).expanduser()
            there = folder.exists()
        except (OSError, RuntimeError) as error:  # too long a name, no right to look, no such user
            raise RetrievalError(
                f"{path[:80]} cannot be looked at ({str(error)[:120]}): name a file or a folder of this machine"
            ) from None
        if not there:
            raise RetrievalError(f"{folder} does not exist on this machine: name a file or a folder")
        return self._ingest(str(folder), [folder])

    def add_encoder(self, spec: str) -> Job:
        """Embeds everything with one more encoder, in the background."""
        self.check_writable()
        spec = arguments.text(spec, "the encoder", arguments.PATH_CHARS)
        if not spec.strip():
            raise RetrievalError("no encoder was chosen: pick one from the list")
        if not self.trusted and not catalog.is_plain(spec.strip()):
            raise RetrievalError(
                f"{spec.strip()[:80]!r} is no name of the catalogue: other checkpoints can be named only where the "
                "page listens on 127.0.0.1 or asks for a password"
            )
        spec = catalog.card(spec.strip()).spec
        if spec in self.library.encoders:
            raise RetrievalError(f"this library has {spec} already: choose another encoder")

        def work(job: Job) -> str:
            job.expect(sum(1 for f in self.library.files() if not f.reason))
            done = ingest(self.library, (), encoders=(spec,), on_event=job.event, checkpoint=job.checkpoint)
            return said(done)

        return self.board.start(f"encoder {spec}", work)

    def _ingest(self, title: str, paths: Sequence[Path]) -> Job:
        def work(job: Job) -> str:
            sources = []
            for source in walk(paths):
                job.check()
                sources.append(source)
            job.expect(len(sources))
            return said(ingest(self.library, sources, on_event=job.event, checkpoint=job.checkpoint))

        return self.board.start(title, work)

    def retry(self, paths: Sequence[str] = ()) -> Job:
        """Reads again, in the background, what could not be read: these paths, or all for none."""
        self.check_writable()
        chosen = failed.wanted(self.library, [self.paths.file(p) for p in arguments.names(paths, "the paths")])

        def work(job: Job) -> str:
            sources = list(failed.sources(chosen))
            job.expect(len(sources))
            done = ingest(self.library, sources, retry=True, on_event=job.event, checkpoint=job.checkpoint)
            absent = failed.gone(chosen)
            return said(done) + (f", {counted(absent, 'file')} no longer there: take them out" if absent else "")

        one = chosen[0] if len(chosen) == 1 else f"{len(chosen)} files that could not be read"
        return self.board.start(f"again: {one}", work)

    def stop(self) -> Job:
        """Tells the ingest that runs to end after the items that are being embedded now; what is stored stays."""
        self.check_writable()
        job = self.board.job
        if job is None or not self.board.running:
            raise RetrievalError("nothing is being ingested: there is nothing to stop")
        job.stop()
        return job

    def remove(self, paths: Sequence[str]) -> int:
        """Takes paths out of the library (the files stay); gives the number of items removed."""
        self.check_writable()
        paths = [self.paths.file(path) for path in arguments.names(paths, "the paths")]
        unknown = [p for p in paths if self.library.ledger.file(p) is None]
        if unknown or not paths:
            raise RetrievalError(
                f"the library holds no file {', '.join(unknown) or '(none was named)'}: "
                "write its path exactly as the page shows it"
            )
        return forget(self.library, paths)


def _new_batch(folder: Path) -> Path:
    """A new folder for one upload: files of the same name never meet, and captions stay with their files."""
    stamp = time.strftime("%Y-%m-%d-%H%M%S")
    for number in range(1, 1000):
        batch = folder / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            batch.mkdir(parents=True)
        except FileExistsError:
            continue
        return batch
    raise RetrievalError(f"{folder} holds a thousand uploads of this second: try again")
