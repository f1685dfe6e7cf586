"""The rules of ops/prometheus: each alert fires for what it is for and for nothing else, and says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.prometheus import COMPARED, ROOT, RULES, program, rules

EDGE = 'job="callboard-edge",instance="a:1"'
# For each alert what makes it fire and what does not: series and their values minute by minute for an hour.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "CallboardProcessDown": ({f"up{{{EDGE}}}": "0x60"}, {f"up{{{EDGE}}}": "1x60"}),
    "CallboardEdgeAbsent": ({'up{job="callboard-actors"}': "1x60"}, {f"up{{{EDGE}}}": "1x60"}),
    "CallboardNotReady": (
        {f'edge_ready{{{EDGE},check="nats"}}': "0x60"},
        {f'edge_ready{{{EDGE},check="nats"}}': "1x60"},
    ),
    "CallboardLoopHeldUp": (
        {
            f'ops_loop_lag_seconds_bucket{{{EDGE},le="{le}"}}': f"0+{n}x60"
            for le, n in (("0.1", 0), ("1", 9), ("+Inf", 9))
        },
        {
            f'ops_loop_lag_seconds_bucket{{{EDGE},le="{le}"}}': f"0+{n}x60"
            for le, n in (("0.1", 9), ("1", 9), ("+Inf", 9))
        },
    ),
    "CallboardDescriptorsRunOut": (
        {f"process_open_fds{{{EDGE}}}": "900x60", f"process_max_fds{{{EDGE}}}": "1000x60"},
        {f"process_open_fds{{{EDGE}}}": "90x60", f"process_max_fds{{{EDGE}}}": "1000x60"},
    ),
    "CallboardDeliverySlow": (
        {
            f'edge_publish_to_write_seconds_bucket{{{EDGE},transport="sse",le="{le}"}}': f"0+{n}x60"
            for le, n in (("1", 9), ("5", 90), ("+Inf", 90))
        },
        {
            f'edge_publish_to_write_seconds_bucket{{{EDGE},transport="sse",le="{le}"}}': "0+90x60"
            for le in ("1", "5", "+Inf")
        },
    ),
    "CallboardReadersBehind": ({f"edge_lag_seconds{{{EDGE}}}": "400x60"}, {f"edge_lag_seconds{{{EDGE}}}": "4x60"}),
    "CallboardSpilling": ({f"edge_spills_total{{{EDGE}}}": "0+120x60"}, {f"edge_spills_total{{{EDGE}}}": "0+6x60"}),
    "CallboardFiltersOverBudget": (
        {f"edge_filters_deferred_total{{{EDGE}}}": "0+120x60"},
        {f"edge_filters_deferred_total{{{EDGE}}}": "0+6x60"},
    ),
    "CallboardFilterProcessLost": (
        {f"edge_filter_process_losses_total{{{EDGE}}}": "0+1x60"},
        {f"edge_filter_process_losses_total{{{EDGE}}}": "1+0x60"},
    ),
    "CallboardEventsBeyondRetention": (
        {f'edge_gaps_total{{{EDGE},reason="beyond_retention"}}': "0+1x60"},
        {
            f'edge_gaps_total{{{EDGE},reason="beyond_retention"}}': "3x60",
            f'edge_gaps_total{{{EDGE},reason="foreign_cursor"}}': "0+1x60",
        },
    ),
    "CallboardEventsMissed": (
        {f"edge_possible_losses_total{{{EDGE}}}": "0+1x60"},
        {f"edge_possible_losses_total{{{EDGE}}}": "0x20 1x40"},
    ),
    "CallboardReconnectStorm": (
        {f'edge_recoveries_total{{{EDGE},outcome="recovered"}}': "0+18000x60"},
        {f'edge_recoveries_total{{{EDGE},outcome="recovered"}}': "0+600x60"},
    ),
    "CallboardSlowReadersCut": (
        {f'edge_disconnects_total{{{EDGE},reason="slow"}}': "0+2x60"},
        {
            f'edge_disconnects_total{{{EDGE},reason="slow"}}': "0+1x60",
            f'edge_disconnects_total{{{EDGE},reason="rotated"}}': "0+50x60",
        },
    ),
    "CallboardRequestsFail": (
        {
            f'edge_requests_total{{{EDGE},status="5xx"}}': "0+5x60",
            f'edge_requests_total{{{EDGE},status="2xx"}}': "0+95x60",
        },
        {
            f'edge_requests_total{{{EDGE},status="5xx"}}': "0x60",
            f'edge_requests_total{{{EDGE},status="4xx"}}': "0+95x60",
        },
    ),
    "CallboardNatsAway": (
        {f"router_nats_connections{{{EDGE}}}": "1x60", f"router_nats_connected{{{EDGE}}}": "0x60"},
        {f"router_nats_connections{{{EDGE}}}": "1x60", f"router_nats_connected{{{EDGE}}}": "1x60"},
    ),
    "CallboardNatsUnsteady": (
        {f"router_nats_losses_total{{{EDGE}}}": "0+1x60"},
        {f"router_nats_losses_total{{{EDGE}}}": "0x20 1x40"},
    ),
    "CallboardNatsSilent": (
        {f"router_nats_silences_total{{{EDGE}}}": "0+1x60"},
        {f"router_nats_silences_total{{{EDGE}}}": "2x60"},
    ),
    "CallboardNatsSlowConsumer": (
        {f"router_nats_slow_consumer_total{{{EDGE}}}": "0+1x60"},
        {f"router_nats_slow_consumer_total{{{EDGE}}}": "2x60"},
    ),
    "CallboardNatsForbidden": (
        {f"router_nats_forbidden_total{{{EDGE}}}": "0+1x60"},
        {f"router_nats_forbidden_total{{{EDGE}}}": "2x60"},
    ),
    "CallboardPublishFails": (
        {f'router_published_events_total{{{EDGE},outcome="timeout"}}': "0+60x60"},
        {f'router_published_events_total{{{EDGE},outcome="stored"}}': "0+60x60"},
    ),
    "CallboardStoreNotWritable": (
        {
            f'edge_store_state{{{EDGE},code="storage_full"}}': "1x60",
            f'edge_store_state{{{EDGE},code="ok"}}': "0x60",
        },
        {
            f'edge_store_state{{{EDGE},code="storage_full"}}': "0x60",
            f'edge_store_state{{{EDGE},code="ok"}}': "1x60",
        },
    ),
    "CallboardDiskNearlyFull": (
        {f"ops_data_free_bytes{{{EDGE}}}": "500000000x60"},
        {f"ops_data_free_bytes{{{EDGE}}}": "5000000000x60"},
    ),
    "CallboardStreamRecreated": (
        {f'edge_store_recreated_streams_total{{{EDGE},stream="EVENTS"}}': "0x35 1x25"},
        {f'edge_store_recreated_streams_total{{{EDGE},stream="EVENTS"}}': "1x60"},
    ),
    "CallboardEventsRolledBack": (
        {f"edge_rollbacks_total{{{EDGE}}}": "0x35 1x25"},
        {f"edge_rollbacks_total{{{EDGE}}}": "1x60"},
    ),
    "CallboardStreamWithoutLeader": (
        {f'router_stream_leader{{{EDGE},stream="EVENTS"}}': "0x60"},
        # One that cannot ask says 0; as long as another sees a leader, there is one.
        {
            f'router_stream_leader{{{EDGE},stream="EVENTS"}}': "1x60",
            'router_stream_leader{instance="b:1",stream="EVENTS"}': "0x60",
        },
    ),
    "CallboardStreamReplicaBehind": (
        {f'router_stream_replicas_behind{{{EDGE},stream="EVENTS"}}': "1x60"},
        {f'router_stream_replicas_behind{{{EDGE},stream="EVENTS"}}': "0x60"},
    ),
    "CallboardStreamFull": (
        {f'router_stream_fullness_ratio{{{EDGE},stream="DEADLETTERS"}}': "0.9x60"},
        # EVENTS drops its oldest: to be full is how it is meant to be.
        {f'router_stream_fullness_ratio{{{EDGE},stream="EVENTS"}}': "1x60"},
    ),
    "CallboardStreamsNotSurveyed": (
        {f"router_streams_surveyed_timestamp_seconds{{{EDGE}}}": "0x60"},
        {f"router_streams_surveyed_timestamp_seconds{{{EDGE}}}": "0+60x60"},
    ),
    "CallboardWebhooksFail": (
        {
            f'edge_webhook_attempts_total{{{EDGE},outcome="timeout"}}': "0+9x60",
            f'edge_webhook_attempts_total{{{EDGE},outcome="delivered"}}': "0+1x60",
        },
        {
            f'edge_webhook_attempts_total{{{EDGE},outcome="timeout"}}': "0+1x60",
            f'edge_webhook_attempts_total{{{EDGE},outcome="delivered"}}': "0+9x60",
        },
    ),
    "CallboardWebhookOldest": (
        {f"edge_webhook_parked_age_seconds{{{EDGE}}}": "90000x60"},
        {f"edge_webhook_parked_age_seconds{{{EDGE}}}": "60x60"},
    ),
    "CallboardWebhookBacklog": (
        {f'edge_webhook_pending_jobs{{{EDGE},kind="fresh"}}': "20000x60"},
        {f'edge_webhook_pending_jobs{{{EDGE},kind="fresh"}}': "20x60"},
    ),
    "CallboardWebhooksPostponed": (
        {f'edge_webhook_postponed_total{{{EDGE},reason="descriptors"}}': "0+1x60"},
        {f'edge_webhook_postponed_total{{{EDGE},reason="descriptors"}}': "5x60"},
    ),
    "CallboardWebhookQueueFull": (
        {'router_stream_fullness_ratio{stream="HOOKS"}': "0.85x60"},
        {'router_stream_fullness_ratio{stream="HOOKS"}': "0.75x60"},
    ),
    "CallboardWebhookBacklogExpires": (
        {"edge_webhook_backlog_retention_ratio": "0.9x60"},
        {"edge_webhook_backlog_retention_ratio": "0.7x60"},
    ),
    "CallboardWebhookGap": ({"edge_webhook_gaps_total": "0+1x60"}, {"edge_webhook_gaps_total": "3x60"}),
    "CallboardRetriesLate": (
        {
            f'edge_webhook_retry_lateness_seconds_bucket{{{EDGE},le="{le}"}}': f"0+{n}x60"
            for le, n in (("2.5", 0), ("5", 9), ("+Inf", 9))
        },
        {f'edge_webhook_retry_lateness_seconds_bucket{{{EDGE},le="{le}"}}': "0+9x60" for le in ("1", "5", "+Inf")},
    ),
    "CallboardEndpointDisabled": (
        {f"edge_webhook_disabled_total{{{EDGE}}}": "0+1x60"},
        {f"edge_webhook_disabled_total{{{EDGE}}}": "1x60"},
    ),
    "CallboardFanoutBehind": (
        {f"edge_webhook_fanout_lag_events{{{EDGE}}}": "9000x60"},
        {f"edge_webhook_fanout_lag_events{{{EDGE}}}": "9x60"},
    ),
    "CallboardFanoutWithoutOwner": (
        {f"edge_webhook_fanout_owner{{{EDGE}}}": "0x60"},
        {f"edge_webhook_fanout_owner{{{EDGE}}}": "0x60", 'edge_webhook_fanout_owner{instance="b:1"}': "1x60"},
    ),
    "CallboardWebhookPartitionsUnowned": (
        {f"edge_webhook_partitions_unowned{{{EDGE}}}": "2x60"},
        # A hand-over takes seconds.
        {f"edge_webhook_partitions_unowned{{{EDGE}}}": "0x44 3 0x15"},
    ),
    "CallboardFanoutLost": (
        {f"edge_webhook_fanout_lost_events_total{{{EDGE}}}": "0+1x60"},
        {f"edge_webhook_fanout_lost_events_total{{{EDGE}}}": "7x60"},
    ),
    "CallboardAttemptLogOverrun": (
        {f"edge_webhook_attempts_dropped_total{{{EDGE}}}": "0+90x60"},
        {f"edge_webhook_attempts_dropped_total{{{EDGE}}}": "9x60"},
    ),
    "CallboardDeadLetters": (
        {f'edge_deadletters_total{{{EDGE},origin="webhook",reason="exhausted"}}': "0+1x60"},
        # An endpoint that says 410 wants no more, and has its own alert.
        {f'edge_deadletters_total{{{EDGE},origin="webhook",reason="gone"}}': "0+1x60"},
    ),
    "CallboardDeadLettersFull": (
        {f"edge_deadletters_fullness_ratio{{{EDGE}}}": "0.9x60"},
        {f"edge_deadletters_fullness_ratio{{{EDGE}}}": "0.1x60"},
    ),
    "CallboardDeadLettersUnfollowed": (
        {f"edge_deadletters_owner{{{EDGE}}}": "0x60"},
        {f"edge_deadletters_owner{{{EDGE}}}": "1x60"},
    ),
    "CallboardUndecodableRecords": (
        {f'edge_undecodable_records_total{{{EDGE},reason="decode_error"}}': "0+1x60"},
        {f'edge_undecodable_records_total{{{EDGE},reason="decode_error"}}': "7x60"},
    ),
    "CallboardUndecodableValues": (
        {f'router_undecodable_values_total{{{EDGE},bucket="SESSIONS"}}': "0+1x60"},
        {f'router_undecodable_values_total{{{EDGE},bucket="SESSIONS"}}': "7x60"},
    ),
    "CallboardRecordFaults": (
        {f'edge_record_faults_total{{{EDGE},loop="fanout"}}': "0+1x60"},
        {f'edge_record_faults_total{{{EDGE},loop="fanout"}}': "7x60"},
    ),
    "CallboardRuleFaults": (
        {'actors_alerts_rule_faults_total{job="alerts"}': "0+1x60"},
        {'actors_alerts_rule_faults_total{job="alerts"}': "7x60"},
    ),
    "CallboardRulesNotInForce": (
        {'actors_alerts_rule_mistakes{source="file"}': "2x60"},
        {'actors_alerts_rule_mistakes{source="file"}': "0x60"},
    ),
    "CallboardAlertmanagerAway": (
        {"actors_alerts_alertmanagers_away": "1x60"},
        {"actors_alerts_alertmanagers_away": "0x60"},
    ),
    "CallboardActorBehind": (
        {'actors_lag_events{actor="agent"}': "2000x60"},
        {'actors_lag_events{actor="agent"}': "20x60"},
    ),
    "CallboardActorStuck": (
        {'actors_lag_seconds{actor="agent"}': "900x60"},
        {'actors_lag_seconds{actor="agent"}': "9x60"},
    ),
    "CallboardActorCrashes": (
        {'actors_restarts_total{actor="agent"}': "0+1x60"},
        {'actors_restarts_total{actor="agent"}': "0x30 1x30"},
    ),
    "CallboardSourceFails": (
        {'actors_source_restarts_total{actor="camera"}': "0+1x60"},
        {'actors_source_restarts_total{actor="camera"}': "0x30 5x30"},
    ),
    "CallboardRunsVanish": ({"actors_runs_vanished_total": "0+1x60"}, {"actors_runs_vanished_total": "1x60"}),
}
ALERTS = [rule for rule in rules() if "alert" in rule]


def _group(alert: str, series: dict[str, str], fires: bool) -> dict[str, Any]:
    expr = f'sum(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {
        "name": f"{alert} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expr, "eval_time": "45m", "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}
        ],
    }


@pytest.mark.slow
def test_every_alert_fires_for_what_it_is_for_and_is_quiet_otherwise(tmp_path: Path) -> None:
    groups = [
        _group(alert, series, fires)
        for alert, (firing, quiet) in CASES.items()
        for series, fires in ((firing, True), (quiet, False))
    ]
    cases = tmp_path / "cases.yml"
    cases.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": groups}))

    done = subprocess.run(
        [program("promtool"), "test", "rules", str(cases)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_is_without_its_cases() -> None:
    assert [rule["alert"] for rule in ALERTS] == list(CASES)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert all(len(text) > 10 for text in rule["annotations"].values())
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert COMPARED.match(rule["expr"])


def test_the_configuration_is_one_that_prometheus_takes() -> None:
    config = ROOT / "ops" / "prometheus" / "prometheus.yml"

    done = subprocess.run(
        [program("promtool"), "check", "config", str(config)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
