"""ClickHouse projections, metrics and dashboards."""
