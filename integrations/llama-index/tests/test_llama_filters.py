"""Filters mean what LlamaIndex's reference function means, and nest as it does not."""

import os
from collections.abc import Iterator, Mapping
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from llama_index.vector_stores.ums import UMSVectorStore

from ums_core import LocalStore, UnifiedSettings, open_store

CASES = 10_000 if os.environ.get("UMS_THOROUGH") == "1" else 100
ROUNDS = count()

KEYS = st.sampled_from(["a", "b.c", "x\\y", "role", "text", 'q"', "metadata", "$k", "é"])
WORDS = st.text("aAbBé. \"'\\", max_size=3)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 2**53, 0.0, 0.5, 1.0, -0.5])
SCALARS = st.one_of(WORDS, NUMBERS, st.booleans(), st.none())
LISTS = st.lists(st.one_of(WORDS, NUMBERS, st.none()), max_size=3)
VALUES = st.one_of(SCALARS, LISTS, st.dictionaries(st.sampled_from(["a", "b.c", "é"]), SCALARS, max_size=2))
NODES = st.lists(st.dictionaries(KEYS, VALUES, max_size=5), min_size=1, max_size=6)

LISTED = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
ORDERED = (FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE)
WORDED = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)
OTHERS = tuple(set(FilterOperator) - {*LISTED, *ORDERED, *WORDED})
OF_ONE_KIND = st.one_of(
    st.lists(WORDS, max_size=3),
    st.lists(NUMBERS.filter(lambda n: isinstance(n, int)), max_size=3),
    st.lists(NUMBERS.filter(lambda n: isinstance(n, float)), max_size=3),
)


def leaf(operators: tuple[FilterOperator, ...], values: st.SearchStrategy[object]) -> st.SearchStrategy[MetadataFilter]:
    made = st.builds(
        lambda k, o, v: MetadataFilter(key=k, operator=o, value=v), KEYS, st.sampled_from(operators), values
    )
    return made.filter(lambda each: each.value is not None or each.operator not in (*LISTED, *ORDERED, *WORDED))


LEAVES = st.one_of(
    leaf(LISTED, OF_ONE_KIND),
    leaf(ORDERED, st.one_of(WORDS, NUMBERS)),
    leaf(WORDED, WORDS),
    leaf(OTHERS, st.one_of(WORDS, NUMBERS, st.none(), OF_ONE_KIND)),
)
CONDITIONS = st.sampled_from([*FilterCondition, None])


def group(parts: st.SearchStrategy[list[MetadataFilter | MetadataFilters]]) -> st.SearchStrategy[MetadataFilters]:
    return st.builds(lambda p, c: MetadataFilters(filters=p, condition=c), parts, CONDITIONS)


FLAT = group(st.lists(LEAVES, max_size=4))
NESTED = st.recursive(FLAT, lambda parts: group(st.lists(st.one_of(parts, LEAVES), max_size=3)), max_leaves=6)


def reference(metadata: Mapping[str, object], filters: MetadataFilters) -> bool:
    """The framework's own answer; raises where it does."""
    return build_metadata_filter_fn(lambda _: metadata, filters)("")


def brute_force(metadata: Mapping[str, object], filters: MetadataFilters) -> bool:
    """The framework's answer for each leaf, and the groups by hand; what it cannot compare is not met."""
    answers = []
    for part in filters.filters:
        if isinstance(part, MetadataFilters):
            answers.append(brute_force(metadata, part))
            continue
        try:
            answers.append(reference(metadata, MetadataFilters(filters=[part])))
        except TypeError:
            answers.append(False)
    if not answers:
        return True
    if filters.condition == FilterCondition.NOT:
        return not any(answers)
    return any(answers) if filters.condition == FilterCondition.OR else all(answers)


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStore]:
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none", "vector_dim": 2})) as store:
        yield store


def met(store: LocalStore, nodes: list[dict[str, object]], filters: MetadataFilters) -> list[int]:
    vectors = UMSVectorStore(store=store, namespace=(f"round {next(ROUNDS)}",))
    vectors.add(
        [TextNode(id_=str(i), text="t", metadata=metadata, embedding=[1.0, 0.0]) for i, metadata in enumerate(nodes)]
    )
    found = [int(node.node_id) for node in vectors.get_nodes(filters=filters)]
    vectors.clear()
    return found


@pytest.mark.property
@settings(max_examples=CASES, deadline=None)
@given(nodes=NODES, filters=FLAT)
def test_flat_filters_agree_with_the_frameworks_reference(
    shared: LocalStore, nodes: list[dict[str, object]], filters: MetadataFilters
) -> None:
    comparable = []
    for number, metadata in enumerate(nodes):
        try:
            comparable.append((number, reference(metadata, filters)))
        except TypeError:
            continue
    found = met(shared, nodes, filters)
    assert [number for number, expected in comparable if expected] == [
        number for number, _ in comparable if number in found
    ]


@pytest.mark.property
@settings(max_examples=CASES, deadline=None)
@given(nodes=NODES, filters=NESTED)
def test_nested_filters_agree_with_brute_force(
    shared: LocalStore, nodes: list[dict[str, object]], filters: MetadataFilters
) -> None:
    expected = [number for number, metadata in enumerate(nodes) if brute_force(metadata, filters)]
    assert met(shared, nodes, filters) == expected


def test_flags_are_filtered_as_one_and_zero(shared: LocalStore) -> None:
    nodes: list[dict[str, object]] = [{"on": True}, {"on": False}, {"on": [True, "x"]}, {}]

    def found(operator: FilterOperator, value: object) -> list[int]:
        return met(shared, nodes, MetadataFilters(filters=[MetadataFilter(key="on", operator=operator, value=value)]))

    assert found(FilterOperator.EQ, 1) == [0]
    assert found(FilterOperator.EQ, 0.0) == [1]
    assert found(FilterOperator.NE, 1) == [1, 2, 3]
    assert found(FilterOperator.GT, 0) == [0]
    assert found(FilterOperator.IN, [0, 5]) == [1]
    assert found(FilterOperator.CONTAINS, 1) == found(FilterOperator.ANY, [1]) == [2]


@pytest.mark.parametrize(
    ("operator", "value", "due"),
    [
        (FilterOperator.IN, "a", "takes a list"),
        (FilterOperator.ALL, None, "takes a list"),
        (FilterOperator.GT, ["a"], "takes a number or a string"),
        (FilterOperator.LTE, None, "takes a number or a string"),
        (FilterOperator.TEXT_MATCH, 1, "takes a string"),
    ],
)
def test_a_value_that_an_operator_cannot_take_is_refused(
    shared: LocalStore, operator: FilterOperator, value: object, due: str
) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="k", operator=operator, value=value)])
    with pytest.raises(ValueError, match=due):
        met(shared, [{}], filters)


def test_a_filter_nests_to_sixty_levels(shared: LocalStore) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="n", value=1)])
    for _ in range(60):
        filters = MetadataFilters(filters=[filters], condition=FilterCondition.NOT)
    assert met(shared, [{"n": 1}, {"n": 2}], filters) == [0]
