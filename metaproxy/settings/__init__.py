"""What an option group is made of: the base class, and the kinds of values that options have."""
