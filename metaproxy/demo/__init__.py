"""A whole deployment on one machine: a small compute API, a small identity service and the real proxy."""
