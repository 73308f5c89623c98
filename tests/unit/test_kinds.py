"""What memories are: declared by a namespace or a query, or else inferred, and visible in every hit."""

from collections.abc import Iterator

import pytest

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store

DECLARED = {"users/ana": "notes", "users/ana/talk": "dialogue", "a%2Fb": "assistant"}
PLACES = [("users", "ana"), ("users", "ana", "talk"), ("a/b",), ("others",)]


@pytest.fixture(scope="module")
def store() -> Iterator[LocalStore]:
    settings = UnifiedSettings.for_testing(model={"embedder": "none"}, ranking={"kinds": DECLARED})
    with open_store(settings) as opened:
        for namespace in PLACES:
            opened.add(
                [
                    Draft(id="u", text="which tea?", role="user", session="s", position=1, namespace=namespace),
                    Draft(id="a", text="green tea", role="assistant", session="s", position=2, namespace=namespace),
                    Draft(id="p", text="the tea is out", role="Bo", session="s", position=3, namespace=namespace),
                    Draft(id="n", text="tea list", namespace=namespace),
                ]
            )
        yield opened


def kinds(store: LocalStore, **options: object) -> dict[tuple[str, ...], dict[str, str | None]]:
    found: dict[tuple[str, ...], dict[str, str | None]] = {}
    for hit in store.search(Query(text="tea", k=50, explain=True, **options)):  # type: ignore[arg-type]  # checked by Query
        found.setdefault(hit.memory.namespace, {})[hit.memory.id] = hit.kind
    return found


ALONE = dict.fromkeys("uapn", "notes")
TALK = {"u": "dialogue", "a": "dialogue", "p": "dialogue", "n": "notes"}
HELP = {"u": "assistant", "a": "assistant", "p": "notes", "n": "notes"}
INFERRED = {"u": "assistant", "a": "assistant", "p": "dialogue", "n": "notes"}


def test_a_namespace_declares_what_is_under_it_and_the_nearest_counts(store: LocalStore) -> None:
    assert kinds(store) == dict(zip(PLACES, [ALONE, TALK, HELP, INFERRED], strict=True))
    assert kinds(store, namespace=("users",)) == {PLACES[0]: ALONE, PLACES[1]: TALK}


def test_what_the_query_says_comes_first(store: LocalStore) -> None:
    for kind, expected in (("notes", ALONE), ("dialogue", TALK), ("assistant", HELP)):
        assert list(kinds(store, kind=kind).values()) == [expected] * len(PLACES)


def test_declared_notes_are_ranked_without_their_neighbours() -> None:
    ranking = {"kinds": {"": "notes"}}
    talk = ["Where is the spare key of the boat?", "Under the blue bucket.", "Nice weather today."]
    for options, told in ((ranking, False), ({}, True)):
        with open_store(UnifiedSettings.for_testing(model={"embedder": "none"}, ranking=options)) as opened:
            opened.add([Draft(text=text, session="s", position=place) for place, text in enumerate(talk)])
            opened.add([Draft(text="A boat is out there.", session="t")])
            hits = opened.search(Query(text="the spare key of the boat", k=4, explain=True))
            assert any("after_question" in (hit.signals or {}) for hit in hits) is told
