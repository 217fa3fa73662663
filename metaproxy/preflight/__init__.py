"""Everything that can be known of a configuration before a socket is bound.

``metaproxy check``, ``metaproxy serve`` and a reload all call ``inspect``, so that they say the same: the
file itself, the files and extras that it names, its addresses on this machine, and what is valid but
dangerous.
"""

from metaproxy.preflight.inspection import Report, inspect
from metaproxy.preflight.machine import Machine, this_machine

__all__ = ["Machine", "Report", "inspect", "this_machine"]
