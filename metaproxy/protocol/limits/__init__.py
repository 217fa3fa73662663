"""The rules of limiting: what a rate is, how it is counted, which rates a request meets, what is told."""
