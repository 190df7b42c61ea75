"""How stages do their work: one file per kind, all behind the `StageKind` port."""
