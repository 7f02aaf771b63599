"""A history is whole whatever is killed, and its checker finds each way to break a promise."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from copy import copy
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shoplab import Lab
from shoplab.errors import HistoryError
from shoplab.measure.history import LINE, Event, History, check
from shoplab.waiting import until

bounded = settings(max_examples=150, derandomize=True, deadline=None, database=None)

PROMISES = ("exactly once", "at least once", "at most once")


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history"
    path.touch()
    return History(path)


# What is right passes; each single corruption is found, and named at its event


def customer(event):
    return event.key % 2


def event(outcome, key):
    return Event(outcome, "pay", key, process=1, at=0)


# Twice: most operations are acknowledged, most corruptions need one that is.
FATES = st.sampled_from(["acknowledged", "acknowledged", "refused", "unknown"])


@st.composite
def right_histories(draw, min_size=1):
    """Operations of two customers, some refused, some without an answer, all at the same time."""
    fates = draw(st.lists(FATES, min_size=min_size, max_size=8))
    to_do = [
        key
        for key, fate in enumerate(fates)
        if fate == "acknowledged" or (fate == "unknown" and draw(st.booleans()))
    ]
    lines = [event("invoked", key) for key in range(len(fates))]
    answers = [event(fate, key) for key, fate in enumerate(fates) if fate != "unknown"]
    done = [[event("done", key) for key in to_do if key % 2 == each] for each in (0, 1)]
    queues = [lines, answers, *done]
    told, history = set(), []
    while any(queues):
        ready = [q for q in queues if q and (q[0].outcome == "invoked" or q[0].key in told)]
        history.append(draw(st.sampled_from(ready)).pop(0))
        told.add(history[-1].key)
    return history


def of(history, outcome):
    return [place for place, each in enumerate(history) if each.outcome == outcome]


def first(history):
    verdict = check(history, sequence_of=customer)
    return verdict.first.kind, verdict.first.place


def an_acknowledged_effect(data, history):
    kept = {history[place].key for place in of(history, "acknowledged")}
    places = [place for place in of(history, "done") if history[place].key in kept]
    assume(places)
    return data.draw(st.sampled_from(places))


@bounded
@given(right_histories())
def test_a_right_history_keeps_every_promise(history):
    for promise in PROMISES:
        verdict = check(history, promise, sequence_of=customer)
        assert verdict.first is None
        assert not verdict.faults


@bounded
@given(right_histories(), st.data())
def test_a_dropped_effect_is_lost_where_it_was_acknowledged(history, data):
    dropped = history.pop(an_acknowledged_effect(data, history))
    assert first(history) == ("lost", history.index(event("acknowledged", dropped.key)))
    assert check(history).lost == 1
    assert check(history, "at most once").first is None


@bounded
@given(right_histories(), st.data())
def test_a_repeated_effect_is_named_the_second_time(history, data):
    assume(of(history, "done"))
    place = data.draw(st.sampled_from(of(history, "done")))
    again = data.draw(st.integers(place + 1, len(history)))
    history.insert(again, history[place])
    assert first(history) == ("repeated", again)
    assert check(history).repeated == 1
    assert check(history, "at least once", sequence_of=customer).first is None


@bounded
@given(right_histories(min_size=4), st.data())
def test_two_effects_of_one_customer_that_change_places_are_named_at_the_later(history, data):
    history.sort(key=lambda each: each.outcome != "invoked")  # else one comes before it is invoked
    effects = [
        [place for place in of(history, "done") if customer(history[place]) == each]
        for each in (0, 1)
    ]
    pairs = [pair for places in effects for pair in pairwise(places)]
    assume(pairs)
    one, two = data.draw(st.sampled_from(pairs))
    history[one], history[two] = history[two], history[one]
    for promise in PROMISES:
        fault = check(history, promise, sequence_of=customer).first
        assert (fault.kind, fault.place) == ("out of sequence", two)
    assert check(history).first is None, "only who asks for sequences gets them checked"


@bounded
@given(right_histories(), st.data())
def test_an_invented_effect_is_from_nowhere(history, data):
    place = data.draw(st.integers(0, len(history)))
    history.insert(place, event("done", 99))
    assert first(history) == ("from nowhere", place)
    assert all(check(history, promise).first.place == place for promise in PROMISES)


@bounded
@given(right_histories(), st.data())
def test_an_effect_before_its_invocation_is_from_nowhere(history, data):
    place = data.draw(st.sampled_from(of(history, "done"))) if of(history, "done") else None
    assume(place is not None)
    early = history.index(event("invoked", history[place].key))
    history.insert(early, history.pop(place))
    assert check(history).first.kind == "from nowhere"
    assert check(history).first.place == early


@bounded
@given(right_histories(), st.data())
def test_an_effect_whose_acknowledgement_was_a_refusal_is_from_nowhere(history, data):
    place = an_acknowledged_effect(data, history)
    answer = history.index(event("acknowledged", history[place].key))
    history[answer] = replace(history[answer], outcome="refused")
    assert first(history) == ("from nowhere", place)


@bounded
@given(right_histories(), st.data())
def test_an_operation_without_an_answer_may_or_may_not_be_done(history, data):
    done = history[an_acknowledged_effect(data, history)]
    history.remove(event("acknowledged", done.key))
    assert check(history, sequence_of=customer).first is None
    history.remove(done)
    assert check(history, sequence_of=customer).first is None


@bounded
@given(right_histories(), st.data())
def test_of_two_corruptions_the_first_event_is_named(history, data):
    dropped = history.pop(an_acknowledged_effect(data, history))
    place = data.draw(st.integers(0, len(history)))
    history.insert(place, event("done", 99))
    lost = history.index(event("acknowledged", dropped.key))
    assert first(history)[1] == min(lost, place)


def test_what_was_refused_and_asked_for_again_is_judged_by_the_second_answer():
    again = [event(*each) for each in (("invoked", 1), ("refused", 1), ("invoked", 1), ("done", 1))]
    assert check(again).first is None, "it has no answer any more"
    assert check([*again, event("acknowledged", 1)]).first is None
    assert check([*again, event("refused", 1)]).from_nowhere == 1


def test_all_that_is_done_after_one_that_came_later_is_out_of_sequence():
    lines = [("invoked", key) for key in (0, 2, 4)] + [("done", key) for key in (4, 0, 2)]
    verdict = check([event(*each) for each in lines], sequence_of=customer)
    assert verdict.out_of_sequence == 2
    assert (verdict.first.place, verdict.first.why) == (
        4,
        "pay 4 was invoked later and done before",
    )


def test_a_repeat_after_others_is_repeated_and_not_out_of_sequence():
    lines = [("invoked", 0), ("invoked", 2), ("done", 0), ("done", 2), ("done", 0)]
    verdict = check([event(*each) for each in lines], sequence_of=customer)
    assert (verdict.repeated, verdict.out_of_sequence) == (1, 0)


# What a reader sees


def test_a_kept_promise_is_a_verdict_with_its_counts(history):
    for order in range(3):
        history.invoked("email", order)
        history.acknowledged("email", order)
        history.done("email", order)
    verdict = history.check().assert_kept()
    assert (verdict.invoked, verdict.acknowledged, verdict.done) == (3, 3, 3)
    assert repr(verdict) == "exactly once kept (3 acknowledged)"


def test_a_broken_promise_names_the_first_event_and_shows_the_lines_around_it(history):
    for order in range(9):
        history.invoked("email", order)
        history.acknowledged("email", order)
    for order in range(8, -1, -1):
        if order not in (4, 6):
            history.done("email", order)
    verdict = history.check()
    assert repr(verdict) == ("exactly once broken, first: email 4 is lost (9 acknowledged: 2 lost)")
    with pytest.raises(HistoryError) as caught:
        verdict.assert_kept()
    sentence, *lines, next_step = str(caught.value).splitlines()
    assert sentence == "email 4 is lost: it was acknowledged and never done."
    assert [line.split("  ")[-1] for line in lines] == [
        "acknowledged email 3",
        "invoked email 4",
        "acknowledged email 4",
        "invoked email 5",
        "acknowledged email 5",
    ]
    assert [line.startswith("  >") for line in lines] == [False, False, True, False, False]
    assert f"process {os.getpid()}  acknowledged email 4" in lines[2]
    assert next_step == "Next: look at the marked line: the promise was exactly once"


def test_lines_of_the_same_operation_are_shown_from_far_away(history):
    history.invoked("email", 0)
    history.done("email", 0)
    for order in range(1, 20):
        history.invoked("email", order)
    history.done("email", 0)
    verdict = history.check()
    shown = [line.split("  ")[-1].strip() for line in verdict.around(verdict.first).splitlines()]
    assert shown == [
        "invoked email 0",
        "done email 0",
        "...",
        "invoked email 18",
        "invoked email 19",
        "done email 0",
    ]


def test_who_does_nothing_keeps_no_promise(history):
    with pytest.raises(HistoryError, match="Nothing in this history was acknowledged"):
        history.check().assert_kept()


def test_what_a_table_shows_in_the_end_counts_as_done_and_is_not_appended(history):
    for order in (1, 2):
        history.invoked("charge", order)
        history.acknowledged("charge", order)
    assert history.check(found=[("charge", 1), ("charge", 2)]).first is None
    assert history.check(found=[("charge", 2), ("charge", 2)]).lost == 1
    assert history.check().lost == 2


@pytest.mark.parametrize("key", [b"7", (1, 2), "x" * LINE])
def test_a_key_that_no_line_can_carry_is_refused(history, key):
    with pytest.raises(HistoryError, match=r"cannot be the key of 'email'"):
        history.invoked("email", key)
    assert history.events() == []


# Many processes, one file


APPEND_FOR_EVER = """
import itertools, pathlib, sys
from shoplab.measure.history import History
history = History(pathlib.Path(sys.argv[1]))
for number in itertools.count():
    history.done("email", number)
"""


def append_in_two_processes_and_kill_them(history):
    begun = len(history.events())
    command = [sys.executable, "-c", APPEND_FOR_EVER, history.path]
    pair = [subprocess.Popen(command) for _ in range(2)]
    pids = {each.pid for each in pair}
    until(lambda: {each.process for each in history.events()[begun:]} == pids, timeout=60)
    for each in pair:
        each.kill()
        each.wait()


def test_every_line_is_whole_and_in_its_place_when_its_process_is_killed(history):
    for _ in range(5):
        append_in_two_processes_and_kill_them(history)
    assert history.path.stat().st_size == len(history.events()) * LINE
    keys = {}
    for each in history.events():
        keys.setdefault(each.process, []).append(each.key)
    assert len(keys) == 10
    assert all(each == list(range(len(each))) for each in keys.values())


def test_all_processes_read_one_clock(history):
    history.invoked("email", 0)
    child = subprocess.Popen([sys.executable, "-c", APPEND_FOR_EVER, history.path])
    until(lambda: history.times_done("email", 0), timeout=60)
    child.kill()
    child.wait()
    history.acknowledged("email", 0)
    invoked, done, *_, acknowledged = history.events()
    assert invoked.process == acknowledged.process == os.getpid() != done.process == child.pid
    assert invoked.at < done.at < acknowledged.at


def test_a_history_travels_as_the_place_of_its_file(history):
    for order in range(100):
        history.done("email", order)
    history.events()
    assert len(pickle.dumps(history)) < 500
    other = copy(history)  # by the same way
    other.done("email", 100)
    assert [each.key for each in history.events()] == list(range(101))
    assert history.times_done("email", 100) == 1


@pytest.fixture
def lab():
    with Lab("00-0", traced=False) as lab:
        yield lab


def test_a_lab_gives_a_history_of_its_own_at_each_call(lab):
    one, two = lab.history("by Kafka/1"), lab.history("by Kafka/1")
    one.done("email", 1)
    assert two.events() == []
    assert one.path.is_relative_to(lab.directory)
    lab.close()
    assert not one.path.exists()
