"""Where the books are kept: memory, SQLite. `open` turns a URL into a ledger."""
