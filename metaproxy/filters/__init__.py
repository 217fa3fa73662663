"""The stages of the line, one file each: ASGI middleware that can be used alone around any app."""
