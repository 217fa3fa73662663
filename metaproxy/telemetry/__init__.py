"""Telemetry for operators: counters, events, the access log. Each costs a request as little as can be."""
