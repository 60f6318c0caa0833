"""Who is told what the verbs of a storage do: the log, OpenTelemetry, Prometheus."""
