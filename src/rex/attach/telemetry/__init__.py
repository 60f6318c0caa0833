"""Telemetry of a storage's operations: log, OpenTelemetry, Prometheus."""
