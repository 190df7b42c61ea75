"""The ledger: what is limited, held and settled, decided by pure rules and kept by a store."""
