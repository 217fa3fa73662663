"""``python -m metaproxy.demo.leash MODULE [ARGUMENT…]``: runs MODULE for as long as its parent lives.

Standard input is a pipe from the parent that is never written to. When the parent ends, however it
ends, the pipe closes and this process tells itself to terminate: the demo leaves no orphans.
"""

import os
import runpy
import signal
import sys
import threading


def _terminate_with_parent() -> None:
    # os.read and not sys.stdin: a buffered reader's lock in a daemon thread breaks the interpreter's end.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_terminate_with_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
