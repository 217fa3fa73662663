"""The rules of HTTP and of the compute API as pure functions: no I/O, no clock of their own."""
