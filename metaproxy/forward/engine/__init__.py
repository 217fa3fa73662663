"""An HTTP/1.1 client that passes bytes through as they are: one connection, one request at a time."""
