"""Requests answered in the server's protocol class. Without this room everything works, only more slowly."""

from metaproxy.fast_lane.lane import FastLane
from metaproxy.fast_lane.passing import Passing

__all__ = ["FastLane", "Passing"]
