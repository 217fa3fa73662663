"""The parts of an option group: the base class, and the kinds of values that options have."""
