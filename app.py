"""The front door of the page: parses options, opens the library, serves."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from mmretrieval.errors import RetrievalError

AGENTS_NEED = "pip install mcp==1.30.0"


def serve(
    library: Annotated[Path, typer.Option("--library", help="Folder of the library.")],
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", help="Folder of an evaluation dataset, to diagnose and to prove changes on."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 7860,
    auth_file: Annotated[
        Path | None,
        typer.Option("--auth-file", help="Who may open the page; `python -m page.auth NAME >> FILE` adds a line."),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nobody adds or removes anything.")] = False,
    yes_public: Annotated[
        bool, typer.Option("--yes-public", help="Let everybody who reaches another host than 127.0.0.1 in.")
    ] = False,
    unload_after: Annotated[
        float,
        typer.Option("--unload-after", min=0, help="Minutes after which an unused encoder leaves memory; 0: never."),
    ] = 0,
    mcp: Annotated[
        bool,
        typer.Option("--mcp", help="Offer search, compare, diagnose and stages to agents (Model Context Protocol)."),
    ] = False,
) -> None:
    """Show a library in the browser: search, compare, diagnose, evaluate, add to it."""
    _check_doors(host, auth_file, read_only=read_only, yes_public=yes_public, mcp=mcp)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("page").setLevel(logging.INFO)
    from mmretrieval.library import Library

    opened = Library.open(library)
    judged = None
    if dataset is not None:
        from eval.reading import load

        judged = load(dataset)
    from page.auth import read
    from page.build import AGENTS, discard, own_folder
    from page.build import serve as serve_page

    allowed = read(auth_file) if auth_file else None
    folder = own_folder()
    from page.state import Page

    page = Page(
        opened,
        read_only=read_only,
        trusted=_local(host) or allowed is not None,
        unload_after=60 * unload_after,
        dataset=judged,
    )
    try:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        demo, address = serve_page(page, host, port or _free_port(host), allowed, agents=mcp)
        page.start()
        if mcp:
            print(f"Agents find search, compare, diagnose and stages here: {address}{AGENTS}", flush=True)
        print(f"The page is ready: {address}", flush=True)
        if page.index_problem:
            print(page.index_problem, file=sys.stderr)
        stop.wait()
        demo.close(verbose=False)
    except OSError as error:
        raise RetrievalError(
            f"the page cannot listen on {host}:{port}, another program (or another page) does: choose another --port, "
            f"or end that program ({str(error).split('. You can')[0]})"
        ) from None
    finally:
        page.close()
        discard(folder)


def _check_doors(host: str, auth_file: Path | None, *, read_only: bool, yes_public: bool, mcp: bool) -> None:
    """Raises RetrievalError for a page that would let people or agents in without that being meant."""
    if not _local(host) and auth_file is None and not yes_public:
        raise RetrievalError(
            f"--host {host} without --auth-file would show the library to everybody who reaches this machine, "
            f"{'' if read_only else 'and let them add to it and remove from it, '}without a password: "
            "give --auth-file FILE, or --yes-public if that is what you want"
        )
    if mcp:
        _check_agents(auth_file)


def _check_agents(auth_file: Path | None) -> None:
    """Raises RetrievalError where agents cannot be served: without the protocol's package, or behind a password."""
    if auth_file is not None:
        raise RetrievalError(
            "--mcp with --auth-file: agents cannot log in here, and the protocol would name the tools to everybody; "
            "leave one of the two out, or start a second page for agents on 127.0.0.1"
        )
    if importlib.util.find_spec("mcp") is None:
        raise RetrievalError(f"--mcp needs the package mcp, which is not installed: `{AGENTS_NEED}`")


def _local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Runs the command line: exit 0 after an orderly end, 2 wrong usage."""
    try:
        typer.run(serve)
    except RetrievalError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
