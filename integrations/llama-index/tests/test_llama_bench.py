"""The benchmark runs, at a small size."""

import pytest
from llama_index_ums.bench import main


@pytest.mark.bench
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of chroma
def test_the_contest_prints_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llama_index.vector_stores.chroma", reason="compares with the chroma integration")
    pytest.importorskip("llama_index.vector_stores.faiss", reason="compares with the faiss integration")
    main(["--nodes", "20", "--batch", "10", "--rounds", "1"])
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("20 nodes of 384 components")
    named = [row[:26].strip() for row in rows]
    assert named[:3] == ["UMS, the core's own call", "- text, metadata, vector", "UMSVectorStore"]
    assert named[3:] == ["SimpleVectorStore", "faiss integration (flat)", "chroma integration"]
    assert all(row.count(" ms ") == 2 for row in rows)
