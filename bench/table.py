# SPDX-License-Identifier: Apache-2.0
"""The table: which figure stands beside which limit of the same run, and its bar."""

from dataclasses import dataclass


@dataclass
class Row:
    work: str
    measured: str
    raw: str
    ratio: str
    bar: str
    met: str

    def line(self):
        return "| " + " | ".join(
            (self.work, self.measured, self.raw, self.ratio, self.bar, self.met)) + " |"


def _verdict(good):
    return "yes" if good else "**no**"


class Table:
    """Rows from the figures of one run; a figure that was not measured gives no row."""

    def __init__(self, figures):
        self.figures = figures
        self.rows = []

    def has(self, *names):
        return all(name in self.figures for name in names)

    def value(self, name, field="value"):
        return self.figures[name][field]

    def cpu(self, work, name, bar, raw_text, raw_names):
        """CPU time per operation in microseconds beside a sum of raw costs."""
        if not self.has(name):
            return
        figure = self.figures[name]
        raw = sum(self.raw_cost(each) for each in raw_names) if raw_names else None
        self.rows.append(Row(
            work,
            f"{figure['cpu_us']:.1f} µs CPU, {figure['per_second']:,.0f}/s, "
            f"p50 {figure['p50_us'] / 1000:.2f} ms, p99 {figure['p99_us'] / 1000:.2f} ms",
            f"{raw:.1f} µs ({raw_text})" if raw else "–",
            f"{figure['cpu_us'] / raw:.2f}" if raw else "–",
            f"≤ {bar} µs", _verdict(figure["cpu_us"] <= bar)))

    def raw_cost(self, name):
        figure = self.figures[name]
        return figure["cpu_us"] if "cpu_us" in figure else figure["value"]

    def rate(self, work, name, bar, raw_text, raw_name):
        if not self.has(name, raw_name):
            return
        figure = self.figures[name]
        raw = self.value(raw_name)
        self.rows.append(Row(
            work, f"{figure['per_second']:,.0f}/s, {figure['cpu_us']:.1f} µs CPU each",
            f"{raw:,.0f}/s ({raw_text})", f"{figure['per_second'] / raw:.2f}", f"≥ {bar:,}/s",
            _verdict(figure["per_second"] >= bar)))

    def plain(self, work, name, unit, bar, scale=1.0, digits=1):
        if not self.has(name):
            return
        value = self.value(name) * scale
        self.rows.append(Row(work, f"{value:.{digits}f} {unit}", "–", "–",
                             f"≤ {bar} {unit}", _verdict(round(value, digits) <= bar)))

    def latency(self, work, name, p50_ms, p99_ms=None):
        if not self.has(name):
            return
        p50 = self.value(name, "p50_us") / 1000
        p99 = self.value(name, "p99_us") / 1000
        good = p50 <= p50_ms and (p99_ms is None or p99 <= p99_ms)
        bar = f"p50 ≤ {p50_ms} ms" + (f", p99 ≤ {p99_ms} ms" if p99_ms else "")
        rounds = self.value(name, "operations")
        self.rows.append(Row(work, f"p50 {p50:.2f} ms, p99 {p99:.2f} ms ({rounds} rounds)", "–",
                             "–", bar, _verdict(good)))

    def text(self):
        head = ["| Work | Measured | Raw limit of the run | Ratio | Bar | Met |",
                "|---|---|---|---|---|---|"]
        return "\n".join(head + [row.line() for row in self.rows])


def build(figures):
    table = Table(figures)
    both = "P-256 sign + verify"
    table.cpu("X509-SVID, batch of 10 CSRs, EC P-256", "x509_batch", 150, both, ["sign", "verify"])
    table.cpu("X509-SVID, single", "x509_single", 180, both + " + empty call",
              ["sign", "verify", "empty_tls"])
    table.cpu("mint over the admin socket", "mint", 160, both + " + empty call",
              ["sign", "verify", "empty_unix"])
    table.cpu("JWT-SVID", "jwt", 100, "P-256 sign + empty call", ["sign", "empty_tls"])
    table.cpu("join-token attestation, token and TLS handshake included", "attest", 1500,
              "2 × P-256 sign + verify", ["sign", "sign", "verify"])
    table.cpu("idle sync of an agent with 100 entries (SyncAuthorizedEntries + GetBundle)", "sync",
              120, "2 empty calls", ["empty_tls", "empty_tls"])
    table.cpu("GetAuthorizedEntries, 100 entries", "authorized_entries", 80, "empty call",
              ["empty_tls"])
    rows = "SQLite alone, as many rows"
    table.rate("create entries, batches of 500, SQLite, empty store", "create_empty", 10_000, rows,
               "sqlite_rows")
    table.rate("the same over 28,000 entries", "create_full", 10_000, rows, "sqlite_rows")
    table.cpu("list entries, pages of 1,000, each", "list", 6, "", [])
    table.plain("server RSS, idle", "server_idle_rss_kib", "MB", 16, 1024 / 1e6)
    table.plain("server memory per entry", "server_entry_bytes", "B", 500, 1, 0)
    table.plain("server CPU, idle at 28,000 entries", "server_full_cpu_percent", "%", 0.0, 1, 1)
    table.plain("agent RSS, idle", "agent_idle_rss_kib", "MB", 12, 1024 / 1e6)
    table.plain("agent CPU, idle", "agent_idle_cpu_percent", "%", 0.0, 1, 1)
    table.cpu("a workload connects, fetches its SVID, leaves; 4 at a time", "fetch", 80,
              "empty call, open connection", ["empty_unix"])
    table.latency("the same, time", "fetch", 0.5)
    table.cpu("JWT-SVID through the agent, a new audience each time", "agent_jwt", 120,
              "empty calls, server and client", ["empty_unix", "empty_tls"])
    table.plain("an open X509 stream, memory", "stream_kib", "KiB", 16)
    table.plain("an open X509 stream, CPU to open", "stream_cpu_us", "µs", 100)
    table.latency("server start to healthy", "server_start", 50)
    table.latency("agent start to serving, attested before", "agent_start", 50)
    table.plain("spire-server, stripped", "server_bytes", "MB", 10, 1e-6)
    table.plain("spire-agent, stripped", "agent_bytes", "MB", 10, 1e-6)
    table.latency("entry created → a waiting workload's stream has the SVID", "entry_create", 50,
                  250)
    table.latency("entry updated → the stream has the change", "entry_update", 50, 250)
    table.latency("entry deleted → the SVID is gone from the stream", "entry_delete", 50, 250)
    scale = "the same with 1,000 more agents connected and 100,000 other entries: "
    table.latency(scale + "created", "scale_entry_create", 50, 250)
    table.latency(scale + "updated", "scale_entry_update", 50, 250)
    table.latency(scale + "deleted", "scale_entry_delete", 50, 250)
    return table
