"""The store that replicas share, in Redis. It needs the extra ``redis``.

No other package imports redis or hiredis. ``assembly/shared.py`` alone imports this one, and only when
``store.url`` is set.
"""
