"""What the engine says becomes a transition of the alert's record, and a store that refuses one takes the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.alerts.engine import Engine, Signal
from actors.alerts.ledger import Transition, change_of, end, firing_of, woken, write
from actors.alerts.parser import read
from router.alerts import AlertRecord, act, confirm
from router.errors import Refused
from tests.actors.alerts.readings import HOT, START, S, reading, written


class Refusing:
    """A ledger that is full, but for the alerts that it has."""

    def __init__(self, *known: AlertRecord) -> None:
        self.known = {record.id.rpartition(".")[0]: record for record in known}

    async def change_entry(self, key: str, transition: Transition) -> AlertRecord | None:
        if key not in self.known:
            raise Refused(400, 10077, "maximum bytes exceeded")
        changed = transition(self.known[key])
        assert changed is not None
        self.known[key] = changed
        return changed

    async def publish_left(self) -> int:
        return 0


def signals(folder: Path, *celsius: float, more: str = "") -> list[Signal]:
    engine = Engine(read(written(folder, HOT + more)))
    return [each for place, degrees in enumerate(celsius) for each in engine.process(reading(degrees, 60 * place))]


def record(folder: Path) -> AlertRecord:
    [signal] = signals(folder, 90)
    made = change_of(signal, START).apply(None)
    assert made is not None
    return confirm(made, made.outbox)


def test_signals_begin_count_on_and_end_the_record(tmp_path: Path) -> None:
    state: AlertRecord | None = None
    seen = []
    for signal in signals(tmp_path, 90, 91, 60, more="    resolve_when: data.celsius < 70\n"):
        state = change_of(signal, signal.at).apply(state)
        assert state is not None and change_of(signal, signal.at).apply(state) is state, "a repeat changes nothing"
        seen.append((state.state, state.count, state.value))

    assert seen == [("firing", 1, 90), ("firing", 2, 91), ("resolved", 2, 91)]
    assert state is not None and (state.reason, state.cause_time) == ("resolve_when", START + 120 * S)


def test_a_value_that_is_no_number_is_shown_and_bounded(tmp_path: Path) -> None:
    for value, wanted in (
        (2**70, str(2**70)),
        ({"a": 1}, "[1 items]"),
        (b"x", "[1 bytes]"),
        (True, True),
        (None, None),
    ):
        [signal] = signals(tmp_path, 90)
        odd = Signal(signal.kind, signal.rule, signal.key, signal.at, signal.event, value, signal.scope, signal.count)
        assert firing_of(odd).value == wanted


def test_a_snooze_ends_and_an_alert_without_a_rule_too(tmp_path: Path) -> None:
    alert = record(tmp_path)
    snoozed = act(alert, "snooze", "alice", START, until=START + S)
    assert woken(snoozed, START + S).apply(None) is None
    awake: Any = woken(snoozed, START + S).apply(snoozed)
    assert awake.state == "firing"
    ended: Any = end(alert, START + S, "rule_removed").apply(alert)
    assert (ended.state, ended.reason) == ("resolved", "rule_removed")


async def test_a_store_that_refuses_one_alert_takes_the_others(tmp_path: Path) -> None:
    alert = record(tmp_path)
    ledger = Refusing(alert)
    [other] = [change_of(each, START) for each in Engine(read(written(tmp_path, HOT))).process(reading(90, host="b"))]

    await write(ledger, [other, end(alert, START + S, "rule_removed")])

    assert [each.state for each in ledger.known.values()] == ["resolved"]
