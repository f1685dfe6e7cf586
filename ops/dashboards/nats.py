"""The dashboard of the exporter of NATS, which is there only where k8s/components/nats-exporter is."""

from __future__ import annotations

from ops.dashboards.panel import Board, line

# Several servers tell of the same stream or consumer; its leader's figures are the newest.
_LEADER = 'is_{0}_leader="true"'


def _of_stream(name: str) -> str:
    return f"max by (stream_name) (nats_stream_{name}{{{_LEADER.format('stream')}}})"


def _of_consumer(name: str) -> str:
    return f"max by (stream_name, consumer_name) (nats_consumer_{name}{{{_LEADER.format('consumer')}}})"


def _rate(name: str) -> str:
    return f"sum by (server_id) (rate(nats_varz_{name}[$__rate_interval]))"


NATS = Board(
    "callboard-nats",
    "Callboard / NATS servers",
    {
        "Servers": [
            line(
                "Healthy",
                "1 while a server's own check of JetStream says ok.",
                "short",
                ("min by (server_id) (1 - nats_healthz_js_server_only_status)", "{{server_id}}"),
            ),
            line(
                "Connections",
                "Open client connections of each server.",
                "short",
                ("max by (server_id) (nats_varz_connections)", "{{server_id}}"),
            ),
            line(
                "Routes",
                "To the other servers of the cluster; fewer than usual while one is unreachable.",
                "short",
                ("max by (server_id) (nats_varz_routes)", "{{server_id}}"),
            ),
            line("CPU", "Percent of one core.", "percent", ("max by (server_id) (nats_varz_cpu)", "{{server_id}}")),
            line("Memory", "Resident memory.", "bytes", ("max by (server_id) (nats_varz_mem)", "{{server_id}}")),
            line(
                "Slow consumers",
                "Connections that were closed because they did not take what was sent to them.",
                "ops",
                (_rate("slow_consumers"), "{{server_id}}"),
            ),
            line("Messages in", "From clients.", "ops", (_rate("in_client_msgs"), "{{server_id}}")),
            line("Messages out", "To clients.", "ops", (_rate("out_client_msgs"), "{{server_id}}")),
            line("Bytes out", "To clients.", "Bps", (_rate("out_client_bytes"), "{{server_id}}")),
        ],
        "JetStream": [
            line(
                "Storage",
                "What streams fill of max_file_store.",
                "percentunit",
                (
                    "max by (server_id) (nats_varz_jetstream_stats_storage / nats_varz_jetstream_config_max_storage)",
                    "{{server_id}}",
                ),
            ),
            line("Messages", "In each stream.", "short", (_of_stream("total_messages"), "{{stream_name}}")),
            line("Bytes", "In each stream.", "bytes", (_of_stream("total_bytes"), "{{stream_name}}")),
            line(
                "Not yet delivered",
                "Messages that wait for each consumer.",
                "short",
                (_of_consumer("num_pending"), "{{stream_name}} {{consumer_name}}"),
            ),
            line(
                "Not yet acknowledged",
                "Delivered to each consumer and in work.",
                "short",
                (_of_consumer("num_ack_pending"), "{{stream_name}} {{consumer_name}}"),
            ),
            line(
                "API errors",
                "Requests to JetStream that were refused.",
                "ops",
                (_rate("jetstream_stats_api_errors"), "{{server_id}}"),
            ),
        ],
    },
    variables_of="nats_varz_cores",
)
