"""Where vectors can be found: `exact` scans arrays, `edge` is Qdrant in this process, `server` is Qdrant elsewhere.

All keep `mmretrieval.types.VectorStore`, and answer alike: tests/contracts/test_stores.py holds them to `exact`.
"""
