"""The parts of the cache stage: stored answers, the bounded store, keys, flights, writes, replicas."""
