"""RFC 9111, HTTP caching, as pure functions: one file per section, and its neighbours 9211 and 9213."""
