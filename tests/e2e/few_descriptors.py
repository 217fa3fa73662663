"""Runs a module with few file descriptors: ``python -m tests.e2e.few_descriptors NUMBER MODULE …``."""

import os
import resource
import sys

if __name__ == "__main__":
    few = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[2:]])
