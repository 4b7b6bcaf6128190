"""Groups of parcels: their text form, what is refused, rows, and which rows have data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import make_checkpoint
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from model.cli.app import main
from model.errors import CheckpointError, ConfigError
from model.networks import NETWORKS, missing_networks, network_columns
from model.partition.groups import (
    NETWORK_GROUPS,
    Group,
    differences,
    missing_rows,
    network_shares,
    ranges,
)
from model.partition.named import PARTITIONS, partition
from model.spec import CARD, CheckpointCard, EncoderSpec

COLUMNS = st.sets(st.integers(0, 456), min_size=1).map(sorted)


@given(COLUMNS)
def test_the_text_of_parcels_is_read_back(columns: list[int]) -> None:
    assert Group("A", ranges(columns)).parcels == tuple(columns)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "458",
        "3-1",
        "1-3 2",
        "2 1",
        "1 1",
        "1 2 3",
        "1-2 3-4",
        "1, 5",
        "01",
        "1-",
        "a",
        " 1",
    ],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="parcels"):
        Group("A", text)


@pytest.mark.parametrize("parcels", [(), (2, 1), (1, 1), (-1, 3), (0, 457)])
def test_parcels_that_there_are_not_are_refused(parcels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="group A: expected one or more of the parcels 1 to 457"):
        Group("A", parcels)


@pytest.mark.parametrize("name", ["", "a_b", "a b", "1a", "a/b", "mean", "CLS", "networks", "é"])
def test_a_name_that_is_no_part_of_a_column_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="letters and digits"):
        Group(name, (0,))


@pytest.mark.parametrize("tokens", [0, -1, 1025, 1.5, True])
def test_a_number_of_tokens_that_cannot_be_is_refused(tokens: int) -> None:
    with pytest.raises(ConfigError, match="tokens"):
        Group("A", (0,), tokens)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ((), "one or more"),
        (tuple(Group(f"A{i}x", (i,), 1024) for i in range(5)), "at most 4096 rows"),
        ((Group("A", (0,)), Group("a", (1,))), "A, a"),
        ((Group("A1", (0,)), Group("A", (1,), 2)), "A1"),
    ],
)
def test_rows_of_one_name_are_refused(groups: tuple[Group, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        EncoderSpec(groups=groups)


def test_the_default_is_the_nine_networks_and_leaves_no_trace_on_a_card() -> None:
    spec = EncoderSpec()
    assert spec.rows == NETWORKS
    assert "groups" not in spec.to_dict()
    assert [list(g.parcels) for g in spec.groups] == [[*network_columns(n)] for n in NETWORKS]


def test_a_card_holds_groups_as_text() -> None:
    spec = EncoderSpec(groups=partition(["networks", "brain:7"]))
    held = json.loads(json.dumps(spec.to_dict()))["groups"]
    assert held[8:] == [
        {"name": "Cerebellum", "parcels": "451-457", "tokens": 1},
        {"name": "Brain", "parcels": "1-457", "tokens": 7},
    ]
    assert held[0]["parcels"] == "1-31 201-230"


@given(st.sets(st.integers(0, 456)))
def test_of_the_nine_networks_rows_are_missing_as_networks_are(lost: set[int]) -> None:
    missing = np.isin(np.arange(457), list(lost))
    found = missing_rows(NETWORK_GROUPS, missing)
    np.testing.assert_array_equal(found, missing_networks(missing))


@pytest.mark.parametrize(
    ("n_lost", "expected"),
    [(228, [False, False, False, False]), (229, [True, True, True, False])],
)
def test_more_than_half_is_missing_at_every_scale(n_lost: int, expected: list[bool]) -> None:
    groups = (Group("Brain", tuple(range(457)), 2), Group("First", (0,)), Group("Last", (456,)))
    missing = np.arange(457) < n_lost
    expected[2] = True  # a group of one parcel is missing with it
    assert missing_rows(groups, missing).tolist() == expected


def test_many_scans_are_told_at_once() -> None:
    missing = np.random.default_rng(0).random((2, 3, 457)) < 0.5
    found = missing_rows(NETWORK_GROUPS, missing)
    assert found.shape == (2, 3, 9)
    np.testing.assert_array_equal(found[1, 2], missing_networks(missing[1, 2]))


@pytest.mark.parametrize(
    ("name", "n_groups"),
    [("brain", 1), ("networks", 9), ("hemispheres", 17), ("components", 63), ("parcels", 457)],
)
def test_a_named_partition_holds_every_parcel_once(name: str, n_groups: int) -> None:
    groups = PARTITIONS[name]()
    assert len(groups) == n_groups
    assert sorted(column for g in groups for column in g.parcels) == list(range(457))
    assert len({row.lower() for row in EncoderSpec(groups=groups).rows}) == n_groups


@pytest.mark.parametrize("name", ["networks", "hemispheres", "components", "parcels"])
def test_parts_are_within_networks(name: str) -> None:
    shares = network_shares(PARTITIONS[name]())
    assert (np.sort(shares, axis=1)[:, -1] == 1).all()


def test_names_say_network_component_and_hemisphere() -> None:
    names = [g.name for g in PARTITIONS["components"]()]
    assert {"VisL", "DefaultPFCdPFCmR", "SubcorticalAMYR", "CerebellumB"} <= set(names)
    assert PARTITIONS["parcels"]()[400].name == "HIPheadmrh"


def test_partitions_stand_side_by_side() -> None:
    rows = EncoderSpec(groups=partition(["networks", "brain:2", "hemispheres:1"])).rows
    assert rows[:12] == (*NETWORKS, "Brain1", "Brain2", "VisL")


@pytest.mark.parametrize("word", ["17networks", "brain:", "brain:x", ":2", ""])
def test_what_is_no_partition_is_told_with_those_there_are(word: str) -> None:
    with pytest.raises(ConfigError, match=r"no such partition.* brain, networks, hemispheres"):
        partition([word])


def test_differences_are_told_by_name() -> None:
    brain = partition(["brain:7"])
    assert differences(NETWORK_GROUPS[:2], brain) == "found Vis, SomMot, expected Brain x 7"
    assert differences((*NETWORK_GROUPS, *brain), NETWORK_GROUPS) == (
        "found the nine networks, Brain x 7, expected the nine networks"
    )
    other = (Group("Vis", (0,)), *NETWORK_GROUPS[1:])
    assert differences(other, NETWORK_GROUPS) == "other parcels in Vis"


def table(tmp_path, text: str):
    path = tmp_path / "groups.tsv"
    path.write_text(text)
    return path


def test_a_table_makes_groups_that_may_overlap(tmp_path) -> None:
    path = table(
        tmp_path,
        "parcel\tgroup\ttokens\n7Networks_LH_Vis_2\tA\t1\n7Networks_LH_Vis_1\tA\t1\n"
        "7Networks_LH_Vis_1\tB\t3\n",
    )
    assert partition([str(path)]) == (Group("A", (0, 1)), Group("B", (0,), 3))
    assert partition([f"{path}:2"]) == (Group("A", (0, 1), 2), Group("B", (0,), 2))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parcel\tnetwork\n7Networks_LH_Vis_1\tA\n", "columns parcel, group"),
        ("parcel\tgroup\nVis_1\tA\n", "1 parcels that there are not: Vis_1"),
        ("parcel\tgroup\n7Networks_LH_Vis_1\tA B\n", "letters and digits"),
        ("parcel\tgroup\n7Networks_LH_Vis_1\t\n", "letters and digits"),
        ("parcel\tgroup\n7Networks_LH_Vis_1\tA\n7Networks_LH_Vis_1\tA\n", "each once"),
        (
            "parcel\tgroup\ttokens\n7Networks_LH_Vis_1\tA\t1\n7Networks_LH_Vis_2\tA\t2\n",
            "one number of tokens",
        ),
        ("parcel\tgroup\ttokens\n7Networks_LH_Vis_1\tA\tx\n", "one number of tokens"),
        ("parcel\tgroup\ttokens\n7Networks_LH_Vis_1\tA\t0\n", "tokens 0"),
        ("", "empty"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_path(tmp_path, text: str, told: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(ConfigError, match=told) as failure:
        partition([str(path)])
    assert str(path) in str(failure.value)


@pytest.mark.parametrize("words", [["networks", "brain:7"], ["components:2"]])
def test_a_partition_that_was_printed_is_read_back(tmp_path, words: list[str]) -> None:
    answer = CliRunner().invoke(main, ["partition", *words])
    assert answer.exit_code == 0, answer.output
    path = table(tmp_path, answer.stdout)
    assert partition([str(path)]) == partition(words)


def test_a_partition_that_cannot_stand_is_not_printed() -> None:
    answer = CliRunner().invoke(main, ["partition", "networks", "networks"])
    assert answer.exit_code == 2
    assert "two rows" in answer.output


def test_an_absent_table_is_told(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"none\.tsv: not a readable partition"):
        partition([str(tmp_path / "none.tsv")])


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ([{"name": "A"}], "groups, number 1: missing keys"),
        ([{"name": "A", "parcels": "1", "width": 2}], "unknown keys"),
        ([{"name": "A", "parcels": "2-1"}], "parcels '2-1'"),
        ([{"name": "A", "parcels": 1}], "parcels 1"),
        (["networks"], "groups"),
        ("networks", "groups"),
        ([], "one or more"),
    ],
)
def test_a_card_with_other_groups_is_refused(tmp_path, groups: object, told: str) -> None:
    folder = make_checkpoint(tmp_path / "c")
    card = json.loads((folder / CARD).read_text())
    card["encoder"]["groups"] = groups
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=told):
        CheckpointCard.load(folder / CARD)
