"""The page as a whole: tabs in order, and how it is served."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmretrieval.errors import RetrievalError
from page.events import FREE

if TYPE_CHECKING:
    import gradio as gr

    from page.state import Page

ANSWERS = Path(__file__).with_name("answers.js")
UPLOAD_LIMIT = "512mb"
# Where the Model Context Protocol is spoken, below the page's address.
AGENTS = "gradio_api/mcp/"
# Uploaded files are looked for every hour and deleted after a day.
CLEAN_SECONDS, KEPT_SECONDS = 3600, 86_400


def own_folder() -> Path:
    """A temporary folder for uploads, and the settings that Gradio reads at import: nothing is sent out."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.mkdtemp(prefix="mmretrieval-page-"))
    return Path(os.environ["GRADIO_TEMP_DIR"])


def blocks(page: Page, *, agents: bool = False) -> gr.Blocks:
    """All tabs, wired. `agents`: of the endpoints those are listed that agents may use."""
    import gradio as gr

    from page.compare import tab as compare
    from page.endpoints import operations as api
    from page.guard import Guarded
    from page.library import tab as library
    from page.map import tab as atlas
    from page.prove import diagnostics, evaluate
    from page.prove.figures import FILES_JS
    from page.query import recipes
    from page.search import tab as search

    demo: gr.Blocks
    kept = CLEAN_SECONDS, KEPT_SECONDS
    with Guarded(page, title="Multimodal retrieval", delete_cache=kept, fill_width=True) as demo:
        gr.HTML(_head(page), js_on_load=FILES_JS)
        with gr.Tabs() as tabs:
            with gr.Tab("Search", id="search"):
                searched = search.build(page)
            with gr.Tab("Compare", id="compare"):
                compared = compare.build(page, searched)
            with gr.Tab("Map", id="map") as points:
                atlas.build(page, searched, tabs, points)
            with gr.Tab("Diagnostics", id="diagnostics"):
                diagnosed = diagnostics.build(page)
            with gr.Tab("Evaluate", id="evaluate") as proofs:
                evaluated = evaluate.build(page)
            with gr.Tab("Library", id="library") as tab:
                outputs, look = library.build(page)
        diagnostics.wire(page, diagnosed, compared, evaluated, tabs, searched)
        api.build(page, agents=agents)

        def menus() -> tuple[Any, ...]:
            offered = recipes.suggestions(page.library.encoders)
            optional = gr.Dropdown(choices=[search.NOTHING, *offered])
            return *(gr.Dropdown(choices=offered),) * 7, optional, gr.Dropdown(choices=diagnostics.classes(page))

        filled = [searched.recipe, *compared[:4], diagnosed.left, evaluated.recipe, diagnosed.right]
        settle, load = searched.load
        demo.load(**settle).then(**load)
        keys, dated = searched.look
        gr.on([demo.load, tab.select], keys, outputs=dated, **FREE)
        gr.on([demo.load, tab.select], menus, outputs=[*filled, diagnosed.classes], **FREE)
        gr.on([demo.load, tab.select], look, outputs=outputs, **FREE)
        proven, seen = evaluated.look
        gr.on([demo.load, proofs.select], proven, seen, evaluated.outputs, **FREE)
    demo.queue(max_size=64, default_concurrency_limit=1)
    return demo


def serve(
    page: Page,
    host: str,
    port: int,
    allowed: Callable[[str, str], bool] | None = None,
    *,
    agents: bool = False,
) -> tuple[gr.Blocks, str]:
    """Starts the page in threads of its own; gives it and its address. Raises OSError where the port is taken.

    `agents`: its endpoints that only look are offered as tools too, at AGENTS below the address.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    from page import originals
    from page.guard import Door
    from page.map import plotted
    from page.prove import figures
    from page.theme import STYLE, theme
    from page.visits import VISITS, ForgetsCalls

    routes = [*originals.routes(page), *figures.routes(page), *plotted.routes(page)]
    demo = blocks(page, agents=agents)
    _, address, _ = demo.launch(
        server_name=host,
        server_port=port,
        auth=allowed,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=agents,
        max_file_size=UPLOAD_LIMIT,
        footer_links=["api"],
        # Gradio says aloud that work is done by a word that it has in none of its languages.
        i18n=gr.I18n(en={"common.complete": "Done"}),
        app_kwargs={"routes": routes, "middleware": [Middleware(ForgetsCalls), Middleware(Door, page=page)]},
        state_session_capacity=VISITS,
        theme=theme(),
        css_paths=[STYLE],
        head=f"<script>{ANSWERS.read_text(encoding='utf-8')}</script>",
    )
    if agents and not demo.mcp_server:
        demo.close(verbose=False)
        raise RetrievalError(f"--mcp cannot be served ({demo.mcp_error}): start the page without it")
    return demo, address


def discard(folder: Path) -> None:
    """Deletes the temporary folder with everything that was uploaded."""
    shutil.rmtree(folder, ignore_errors=True)


def _head(page: Page) -> str:
    from page.notices import escape

    mode = " · read-only" if page.read_only else ""
    name = escape(page.library.path.name + mode)
    return f'<header class="mm-head"><h1>Multimodal retrieval</h1><span>{name}</span></header>'
