"""Keyword terms that only a key can tell: each word of a text as digits, in the same order.

A text is cut into words by the very tokenizer that would index it, in an FTS5 table in memory, so that a search finds
what it finds in a plain database, and scores it alike. Digits pass the tokenizer of the real table as they are.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

from ums_core.ports.sealed import FieldSeal

__all__ = ["HiddenWords"]

_KNOWN_QUESTIONS = 1024


class HiddenWords:
    """Hides the words of one database. Thread-safe.

    Args:
        driver: a DB-API module with FTS5.
        tokenizer: as the table of terms is declared with.
        fields: holds the keys.
    """

    def __init__(self, driver: ModuleType, tokenizer: str, fields: FieldSeal) -> None:
        self._fields = fields
        self._lock = threading.Lock()
        self._memory = driver.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._memory.execute(f"CREATE VIRTUAL TABLE texts USING fts5(text, content='', tokenize='{tokenizer}')")
        self._memory.execute("CREATE VIRTUAL TABLE words USING fts5vocab(texts, 'instance')")
        self._asked = lru_cache(_KNOWN_QUESTIONS)(lambda word: tuple(self._cut([word])[0]))

    def hidden(self, texts: Sequence[str], key_id: str) -> list[str]:
        """Each text as its hidden words."""
        return [" ".join(self._fields.hidden(key_id, word) for word in words) for words in self._cut(texts)]

    def asked(self, word: str, keys: Sequence[str]) -> str:
        """The FTS5 expression that finds a word in rows under any of the keys."""
        words = self._asked(word)
        phrases = [f'"{" ".join(self._fields.hidden(key_id, each) for each in words)}"' for key_id in keys]
        return phrases[0] if len(phrases) == 1 else f"({' OR '.join(phrases)})"

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._memory.close()

    def _cut(self, texts: Sequence[str]) -> list[list[str]]:
        run = self._memory.execute
        found: dict[int, list[tuple[int, str]]] = defaultdict(list)
        with self._lock:
            run("BEGIN")
            try:
                self._memory.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(texts, 1))
                for number, offset, word in run("SELECT doc, offset, term FROM words"):
                    found[number].append((offset, word))
            finally:
                run("ROLLBACK")
        return [[word for _, word in sorted(found[number])] for number in range(1, len(texts) + 1)]
