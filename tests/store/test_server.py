"""What is the remote store's alone: a server that is not there, a collection of another shape."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from qdrant_client import QdrantClient

from mmretrieval.errors import StoreError
from mmretrieval.store.server import ServerStore


def test_a_server_that_is_not_there_is_named(recwarn: pytest.WarningsRecorder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StoreError, match=f"{url}.*Check that the server runs"):
            ServerStore(url, "c", 4, ("visual",))


def test_a_collection_of_another_shape_is_refused() -> None:
    with closing(QdrantClient(":memory:")) as client:
        ServerStore(client, "c", 4, ("visual",))
        ServerStore(client, "c", 4, ("visual",)).close()
        for dim, views in ((5, ("visual",)), (4, ("visual", "text"))):
            with pytest.raises(StoreError, match="name another collection"):
                ServerStore(client, "c", dim, views)  # type: ignore[arg-type]
        assert client.collection_exists("c")
