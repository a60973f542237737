"""Write dashboard.json, for Grafana: `make dashboard`."""

from __future__ import annotations

import itertools
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FILE = Path(__file__).with_name("dashboard.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
UNITS = "redis|sentinel|webdis|nginx"
CPU_IDLE = 'avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[1m]))'
DISK = 'node_filesystem_avail_bytes{mountpoint=~"/|/var/lib/redis"}'

# Row: title, unit, and what is shown, as legend and query.
PANELS: dict[str, list[tuple[str, str, dict[str, str]]]] = {
    "Now": [
        ("Redis runs", "short", {"{{instance}}": "redis_up"}),
        (
            "Webdis runs",
            "short",
            {"{{instance}}": 'node_systemd_unit_state{name="webdis.service", state="active"}'},
        ),
        (
            "Subscribers",
            "short",
            {"{{instance}}": 'webdis_sockets{state="established"}'},
        ),
    ],
    "Webdis": [
        (
            "Sockets by state",
            "short",
            {"{{instance}} {{state}}": "webdis_sockets"},
        ),
        (
            "Memory",
            "bytes",
            {
                "{{instance}} resident": "webdis_resident_memory_bytes",
                "{{instance}} data": "webdis_data_memory_bytes",
                "{{instance}} limit of data": "webdis_data_memory_max_bytes",
            },
        ),
        (
            "Descriptors",
            "short",
            {
                "{{instance}} open": "webdis_open_fds",
                "{{instance}} limit": "webdis_max_fds",
            },
        ),
        (
            "Restarts in 5 minutes",
            "short",
            {
                "{{instance}} {{name}}": "increase(node_systemd_service_restart_total"
                f'{{name=~"({UNITS}).service"}}[5m])'
            },
        ),
    ],
    "Redis": [
        (
            "Memory",
            "bytes",
            {
                "{{instance}} used": "redis_memory_used_bytes",
                "{{instance}} limit": "redis_memory_max_bytes",
            },
        ),
        ("Clients", "short", {"{{instance}}": "redis_connected_clients"}),
        ("Commands", "ops", {"{{instance}}": "rate(redis_commands_processed_total[1m])"}),
        ("Replicas", "short", {"{{instance}}": "redis_connected_slaves"}),
    ],
    "Demo": [
        (
            "Messages",
            "ops",
            {
                "published": "rate(demo_messages_published_total[1m])",
                "replayed": "rate(demo_replay_messages_total[1m])",
                "dropped": "rate(demo_messages_dropped_total[1m])",
            },
        ),
        (
            "Time to publish, 99 of 100",
            "s",
            {
                "": "histogram_quantile(0.99, sum by (le) (rate(demo_publish_seconds_bucket[5m]))) "
                "or vector(0)"
            },
        ),
        (
            "Jobs that ended in 5 minutes",
            "short",
            {"{{kind}} {{end}}": "increase(demo_jobs_total[5m])"},
        ),
        (
            "Queue",
            "short",
            {"jobs that wait": "demo_queue_jobs", "workers": "demo_workers"},
        ),
    ],
    "Machine": [
        (
            "Processor",
            "percentunit",
            {"{{instance}}": f"1 - {CPU_IDLE}"},
        ),
        ("Memory available", "bytes", {"{{instance}}": "node_memory_MemAvailable_bytes"}),
        (
            "Disk available",
            "bytes",
            {"{{instance}} {{mountpoint}}": DISK},
        ),
    ],
}


def queries() -> list[str]:
    """Return every query of the dashboard."""
    return [query for row in PANELS.values() for _, _, shown in row for query in shown.values()]


def text() -> str:
    """Return the dashboard as Grafana imports it."""
    made = (
        dashboard.Dashboard("webdis-kit")
        .uid("webdis-kit")
        .refresh("10s")
        .time("now-1h", "now")
        .with_variable(dashboard.DatasourceVariable("source").label("Source").type("prometheus"))
    )
    ids = itertools.count(1)
    for row, panels in PANELS.items():
        made = made.with_row(dashboard.Row(row).id(next(ids)))
        builder = stat.Panel if row == "Now" else timeseries.Panel
        for title, unit, shown in panels:
            panel = (
                builder()
                .id(next(ids))
                .title(title)
                .unit(unit)
                .datasource(SOURCE)
                .span(24 // len(panels))
            )
            for letter, (legend, query) in zip("ABCD", shown.items(), strict=False):
                target = prometheus.Dataquery().ref_id(letter).expr(query).legend_format(legend)
                panel = panel.with_target(target)
            made = made.with_panel(panel.height(7))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
