"""Options that several commands have."""

from typing import Annotated

import typer

ActorOption = Annotated[str | None, typer.Option(help="Who does it; you unless given.")]
