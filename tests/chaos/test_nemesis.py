"""The same seed plans the same faults, each on a target that is free for it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tests.chaos.history import FaultKind
from tests.chaos.nemesis import LASTING, WEIGHTS, Fault, Grounds, plan

WORKERS = [f"w{number:02}" for number in range(20)]
GROUNDS = Grounds(WORKERS, WORKERS[-1:], WORKERS[-3:-1], frozenset(FaultKind))


def planned(seed: str, count: int = 210) -> list[Fault]:
    return plan(seed, GROUNDS, count, 4.0, 250.0)


def test_every_kind_has_a_weight_and_a_length() -> None:
    assert set(WEIGHTS) == set(LASTING) == set(FaultKind) - {FaultKind.HOST_STALL}


def test_a_seed_says_all() -> None:
    assert planned("1") == planned("1")
    assert planned("1") != planned("2")


def test_as_many_as_were_asked_for_in_order_and_in_time() -> None:
    found = planned("1")
    assert [fault.number for fault in found] == list(range(1, 211))
    assert all(a.at <= b.at for a, b in pairwise(found))
    assert all(4.0 <= fault.at <= 250.0 for fault in found)


def test_every_kind_comes_over_some_seeds() -> None:
    kinds = Counter(fault.kind for seed in "12345" for fault in planned(seed))
    assert set(kinds) == set(WEIGHTS)


def test_one_at_a_time_for_a_process_and_for_a_link() -> None:
    for seed in "123":
        links: dict[str, float] = {}
        processes: dict[str, float] = {}
        for fault in planned(seed):
            busy = links if fault.kind.value.startswith("link.") else processes
            if fault.kind is not FaultKind.LINK_CUT:
                assert busy.get(fault.target, 0.0) <= fault.at
                busy[fault.target] = fault.until


def test_where_something_is_not_possible_it_is_not_planned() -> None:
    grounds = Grounds(WORKERS, kinds=frozenset({FaultKind.LINK_CUT, FaultKind.BARTOC_KILL}))
    assert {fault.kind for fault in plan("1", grounds, 50, 0, 60)} == grounds.kinds


def test_no_faults_are_none() -> None:
    assert plan("1", Grounds(WORKERS), 0, 0, 60) == []
