"""What the cache stage is made of: stored answers, the bounded store, keys, flights, writes, replicas."""
