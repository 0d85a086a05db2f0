"""What a worker counts of itself: which answers close their connections."""

from carboy.server.tally import Tally


def test_as_many_answers_close_as_were_asked_for():
    """One that comes between another's last and the news of it closes nothing."""
    tally = Tally()
    assert not tally.closing

    tally.give(2)

    assert tally.closing
    assert [tally.closes() for _ in range(3)] == [True, True, False]
    assert not tally.closing


def test_every_answer_closes_while_the_worker_leaves():
    """Whatever was asked before."""
    tally = Tally()
    tally.give(1)
    tally.drain()

    assert all(tally.closes() for _ in range(5))
    assert tally.closing
