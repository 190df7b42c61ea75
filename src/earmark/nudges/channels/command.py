"""Nudges handed to a program: an argument list, never a shell; the event in JSON on its input."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

from earmark.nudges.channels.channel import TIME_LIMIT_S, DeliveryFailed, event_of
from earmark.nudges.channels.channel_settings import ChannelContext, ChannelSettings
from earmark.nudges.nudge import Nudge
from earmark.setting_types.table import Argv


class CommandSettings(ChannelSettings):
    """`kind = "command"`: a program that reads the event as JSON; never a shell."""

    argv: Argv

    def open(self, context: ChannelContext) -> "CommandChannel":
        """Return the channel, whose program starts in the folder of the configuration's file."""
        return CommandChannel(
            context.name, self.argv, timeout_s=self.timeout_s, directory=context.folder
        )


class CommandChannel:
    """Runs a program once for each nudge, in a process group that ends with the try."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        timeout_s: float = TIME_LIMIT_S,
        directory: Path | None = None,
    ) -> None:
        """Run *argv* in *directory*; an exit code of 0 accepts a nudge."""
        self.name = name
        self.timeout_s = timeout_s
        self._argv = tuple(argv)
        self._directory = directory

    async def send(self, nudge: Nudge) -> None:
        """Run the program; its group is killed when it ends, also when the try is cut off.

        Raises:
            DeliveryFailed: It could not be started, or ended with another code than 0.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=DEVNULL,
                cwd=self._directory,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise DeliveryFailed(f"cannot start it ({type(error).__name__})") from None
        try:
            await process.communicate(event_of(nudge))
        finally:
            # The kernel keeps the group's id from being used again while a member lives.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            code = await asyncio.shield(process.wait())
        if code != 0:
            raise DeliveryFailed(f"killed by signal {-code}" if code < 0 else f"exit code {code}")
