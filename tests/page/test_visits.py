"""What the server keeps of visits: of browsers, until many others came; of programs' calls, nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from page.visits import VISITS

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own, because Gradio leaves sockets to the collector, which counts as a failure in here.
SERVE = """
import json, socket, sys
from pathlib import Path
from page.build import discard, own_folder, serve
folder = own_folder()
import httpx
from mmretrieval.library import Library
from page.state import Page

def called(http, **more):
    begun = http.post("gradio_api/call/status", json={"data": [], **more}).raise_for_status().json()
    told = http.get(f"gradio_api/call/status/{begun['event_id']}").raise_for_status().text
    return json.loads(told.rpartition("data: ")[2])[0]["items"]

with socket.create_server(("127.0.0.1", 0)) as listening:
    port = listening.getsockname()[1]
page = Page(Library.open(Path(sys.argv[1])), read_only=True)
demo, address = serve(page, "127.0.0.1", port)
with httpx.Client(base_url=address, timeout=60, trust_env=False) as http:
    items = [called(http) for _ in range(5)]
    nameless = [*demo.state_holder.session_data, *demo.state_holder.time_last_used]
    items.append(called(http, session_hash="ada"))
held = demo.state_holder
print(json.dumps({"items": items, "nameless": nameless, "named": list(held.session_data), "most": held.capacity}))
demo.close(verbose=False)
page.close()
discard(folder)
"""


def test_calls_of_programs_leave_nothing_behind_and_named_sessions_stay(made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(made)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(found["items"])
    assert found["nameless"] == []
    assert found["named"] == ["ada"]
    assert found["most"] == VISITS < 10_000
