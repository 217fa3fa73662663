"""Hits answered in the server's protocol class. Without this room everything works, only more slowly."""

from metaproxy.fast_lane.lane import FastLane

__all__ = ["FastLane"]
