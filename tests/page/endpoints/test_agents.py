"""The page for agents: what it offers by the Model Context Protocol, and how it refuses where it cannot."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import app
from mmretrieval.errors import RetrievalError
from page import auth, build
from tests.page.serving import ROOT, served

TOOLS = {"search", "compare", "diagnose", "stages"}


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RetrievalError, match="pip install mcp=="):
        app._check_agents(None)


def test_agents_cannot_pass_a_password(made: Path, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(auth.line("ada", "engine") + "\n")
    command = [sys.executable, "app.py", "--library", str(made), "--mcp", "--auth-file", str(users)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "agents cannot log in" in done.stderr and "Traceback" not in done.stderr


LISTED = """
import json, sys
from mmretrieval.library import Library
from page.build import blocks
from page.state import Page
page = Page(Library.open(sys.argv[1]))
print(json.dumps(list(blocks(page, agents=True).get_api_info()["named_endpoints"])))
page.close()
"""


def test_agents_are_offered_what_only_looks(made: Path) -> None:
    command = [sys.executable, "-c", LISTED, str(made)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.lstrip("/") for name in json.loads(done.stdout.strip().splitlines()[-1])} == TOOLS


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="the package mcp is not installed")
def test_an_agent_searches_compares_diagnoses_and_reads_of_stages(made: Path) -> None:
    with served(made, "--mcp") as address:
        found = asyncio.run(_asked(address + build.AGENTS))
    assert found.pop("tools") == sorted(TOOLS)
    assert found["search"]["hits"][0]["text"] == "a green frog by the pond"
    assert len(found["compare"]["columns"]) == 2 and found["stages"]["stages"][0]["name"] == "rrf"
    assert found["diagnose"]["diagnostic"] == "gap"


async def _asked(address: str) -> dict[str, Any]:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    asked: dict[str, dict[str, Any]] = {
        "search": {"words": "green frog", "recipe": "hashing@text", "k": 2},
        "compare": {"words": "frog", "recipes": ["hashing@text", "hashing@visual"]},
        "diagnose": {"recipe": "hashing@visual", "diagnostic": "gap"},
        "stages": {"name": "rrf"},
    }
    async with (
        streamable_http_client(address) as (reader, writer, _),
        ClientSession(reader, writer) as session,
    ):
        await session.initialize()
        tools = await session.list_tools()
        found: dict[str, Any] = {"tools": sorted(tool.name for tool in tools.tools)}
        for name, arguments in asked.items():
            answer: Any = await session.call_tool(name, arguments)
            assert not answer.isError, answer
            found[name] = ast.literal_eval(answer.content[0].text)  # as Gradio writes a dict down
        refused = await session.call_tool("remove", {"paths": ["x"]})
        assert refused.isError
    return found
