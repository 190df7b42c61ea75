"""Places inside a JSON document, as JSON pointers (RFC 6901)."""


def escape(name: str) -> str:
    """Return *name* as one token of a pointer (RFC 6901, section 3)."""
    if "~" not in name and "/" not in name:
        return name
    return name.replace("~", "~0").replace("/", "~1")
