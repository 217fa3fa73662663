"""State that the workers of one supervisor share: the supervisor holds it, in place of a Redis."""
