"""Whether a commit waits for writers that are about."""

import threading

import pytest

from ums_core.storage.companions import Companions


class Growing:
    """Writers that come by themselves: as many as the next number says."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = iter(sizes)

    def __len__(self) -> int:
        return next(self._sizes)


@pytest.fixture
def mutex() -> threading.Lock:
    return threading.Lock()


def test_a_lone_writer_never_waits(mutex: threading.Lock) -> None:
    companions = Companions(patience_s=60)
    for _ in range(3):
        companions.wait([1], mutex)
        companions.committed(1, 3600)
    assert companions.waits == 0


def test_it_waits_until_as_many_are_there_as_last_time(mutex: threading.Lock) -> None:
    companions = Companions(patience_s=60)
    companions.committed(3, 3600)
    there = [1]
    leader = threading.Thread(target=companions.wait, args=(there, mutex))
    leader.start()
    while not companions.waits:
        pass
    for number in (2, 3):
        assert leader.is_alive()
        with mutex:
            there.append(number)
            companions.come(len(there))
    leader.join(10)
    assert not leader.is_alive()
    companions.wait(there, mutex)
    assert companions.waits == 1, "all were there already"
    # One more who comes late opens nothing that is not shut.
    companions.come(3)


def test_it_goes_on_while_one_follows_another_and_ends_when_none_does(mutex: threading.Lock) -> None:
    companions = Companions(patience_s=0.001)
    companions.committed(9, 3600)
    companions.wait(sizes := Growing(1, 2, 3, 4, 4, 5), mutex)
    assert companions.waits == 1
    assert len(sizes) == 5, "it looked after every wait, but no more after one in which nobody came"


def test_those_who_stay_away_are_waited_for_ever_more_seldom_until_all_come(mutex: threading.Lock) -> None:
    companions = Companions(patience_s=60)

    def waited(commits: int) -> list[int]:
        """At which of so many commits, to which nobody else comes, it waited."""
        companions.committed(2, 0.0)
        counts = [companions.waits]
        for _ in range(commits):
            companions.wait([1], mutex)
            counts.append(companions.waits)
        return [number for number in range(commits) if counts[number + 1] > counts[number]]

    assert waited(255) == [0, 2, 6, 14, 30, 62, 126, 190, 254]
    assert waited(63) == []
    companions.committed(2, 3600)
    there = [1]
    leader = threading.Thread(target=companions.wait, args=(there, mutex))
    leader.start()
    while companions.waits == 9:
        pass
    with mutex:
        there.append(2)
        companions.come(2)
    leader.join(10)
    assert waited(7) == [0, 2, 6]
