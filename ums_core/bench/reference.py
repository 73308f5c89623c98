"""What the store is measured beside: a hand-written script of raw FAISS and the standard library's sqlite3.

It does only the step that is measured, as durably (write-ahead log, ``synchronous=FULL``), and stores the same content:
ids, namespace, text, metadata as JSON, the float32 vector, and the keyword terms in an FTS5 table of the same columns
with FTS5's own settings. Its graph has the parameters of the store's. It cannot update, delete, recover, or serve two
processes.
"""

import json
import os
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from ums_core import Draft
from ums_core.bench.store_contest import Found, K
from ums_core.bench.store_data import Scope
from ums_core.bench.store_rows import Kind
from ums_core.index.faiss_tuning import DEFAULT_PARAMS

__all__ = ["Reference"]

faiss: Any = _faiss  # its own stubs lack half of what is used here, and contradict its signatures

_CREATE = """
    CREATE TABLE memories (
        rid INTEGER PRIMARY KEY, id TEXT NOT NULL, namespace TEXT NOT NULL, text TEXT NOT NULL, metadata TEXT NOT NULL,
        vector BLOB NOT NULL, UNIQUE (namespace, id)
    )
"""
_CREATE_TERMS = (
    "CREATE VIRTUAL TABLE terms USING fts5("
    "body, about, scope, content='', tokenize='porter unicode61 remove_diacritics 2')"
)
_INSERT = "INSERT INTO memories VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_TERMS = "INSERT INTO terms (rowid, body, about, scope) VALUES (?, ?, '', ?)"


class Reference:
    """Rows in SQLite, vectors in FAISS, nothing around them.

    Args:
        directory: exists and is empty.
        terms: whether keyword terms are written too.
    """

    def __init__(self, directory: Path, dim: int, *, terms: bool = True) -> None:
        self._path = directory
        self._dim = dim
        self._terms = terms
        self._next = 1
        self._scopes: dict[str, int] = {}
        self._indexes: dict[Kind, Any] = {}
        self._aside: dict[Scope, tuple[npt.NDArray[np.int64], Any]] = {}
        self._connection = sqlite3.connect(directory / "reference.db", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_CREATE)
        if terms:
            self._connection.execute(_CREATE_TERMS)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The indexes that were built."""
        return frozenset(self._indexes)

    def ingest(self, batches: Sequence[Sequence[Draft]]) -> None:
        """One transaction a batch."""
        for batch in batches:
            self._write(batch)

    def add(self, draft: Draft) -> None:
        """One transaction; no index learns of it."""
        self._write([draft])

    def build(self, kind: Kind) -> None:
        """Make an index of all vectors in the database, with all cores."""
        blobs = self._connection.execute("SELECT vector FROM memories ORDER BY rid").fetchall()
        vectors = np.frombuffer(b"".join(blob for (blob,) in blobs), np.float32).reshape(-1, self._dim)
        self.build_from(kind, vectors)

    def build_from(self, kind: Kind, vectors: npt.NDArray[np.float32]) -> None:
        """Make an index of vectors that are at hand, in the order of their rows, with all cores."""
        if kind == "graph":
            index = faiss.IndexHNSWFlat(self._dim, DEFAULT_PARAMS.m, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = DEFAULT_PARAMS.ef_construction
            index.hnsw.efSearch = DEFAULT_PARAMS.ef_search
        else:
            index = faiss.IndexFlatIP(self._dim)
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        index.add(vectors)
        # The setting is the thread's, and the store searches in this thread too.
        faiss.omp_set_num_threads(1)
        self._indexes[kind] = index

    def save(self, kind: Kind) -> Path:
        """Write an index to a file as FAISS does, and return its path."""
        path = self._path / f"{kind}.faiss"
        faiss.write_index(self._indexes[kind], str(path))
        return path

    @staticmethod
    def load(path: Path) -> int:
        """Read an index from a file, and return how many vectors it has."""
        return int(faiss.read_index(str(path)).ntotal)

    def search(self, vector: npt.NDArray[np.float32], scope: Scope, kind: Kind = "graph") -> list[tuple[Any, ...]]:
        """Row id, cosine, id, text and metadata, unparsed, of the 10 nearest.

        Args:
            vector: unit, shape (d,).
            scope: everything, or one that was set aside.
            kind: ``flat`` compares with every vector, ``graph`` is an HNSW graph.
        """
        if scope in self._aside:
            rids, index = self._aside[scope]
            scores, at = index.search(vector[None], min(K, len(rids)))
            near = rids[at[0]].tolist()
        else:
            scores, at = self._indexes[kind].search(vector[None], K)
            near = (at[0] + 1).tolist()
        sql = f"SELECT rid, id, text, metadata FROM memories WHERE rid IN ({','.join('?' * len(near))})"
        rows = {row[0]: row[1:] for row in self._connection.execute(sql, near)}
        return [(rid, cosine, *rows[rid]) for rid, cosine in zip(near, scores[0].tolist(), strict=True)]

    def set_aside(self, scope: Scope) -> None:
        """Keep the vectors of a scope in a flat index of their own, which its searches then ask."""
        sql, value = "json_extract(metadata, '$.source') = ?", scope.source
        if value is None:
            sql, value = "namespace = ?", "/".join(scope.namespace)
        rows = self._connection.execute(f"SELECT rid, vector FROM memories WHERE {sql} ORDER BY rid", (value,))
        held = rows.fetchall()
        rids = np.array([rid for rid, _ in held], np.int64)
        index = faiss.IndexFlatIP(self._dim)
        index.add(np.frombuffer(b"".join(blob for _, blob in held), np.float32).reshape(-1, self._dim))
        self._aside[scope] = rids, index

    def found(self, answer: object) -> list[Found]:
        """Texts and cosines."""
        assert isinstance(answer, list), "search() gives a list"
        return [(text, cosine) for _, cosine, _, text, _ in answer]

    def count(self) -> int:
        """How many rows are stored."""
        return int(self._connection.execute("SELECT count(*) FROM memories").fetchone()[0])

    def close(self) -> None:
        """Close the database and free the indexes."""
        self._connection.close()
        self._indexes.clear()

    def _write(self, drafts: Sequence[Draft]) -> None:
        rows, terms = [], []
        for rid, draft in enumerate(drafts, self._next):
            namespace = "/".join(draft.namespace)
            scope = self._scopes.setdefault(namespace, len(self._scopes))
            vector = np.asarray(draft.embedding, np.float32).tobytes()
            rows.append((rid, uuid.uuid4().hex, namespace, draft.text, json.dumps(draft.metadata), vector))
            terms.append((rid, draft.text, f"ns{scope}"))
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_INSERT, rows)
        if self._terms:
            self._connection.executemany(_INSERT_TERMS, terms)
        self._connection.execute("COMMIT")
        self._next += len(rows)
