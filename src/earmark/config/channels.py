"""From the settings to the channels that carry nudges."""

from collections.abc import Mapping

from earmark.clock import Clock
from earmark.config.settings import Settings
from earmark.nudges.channels.channel import Channel
from earmark.nudges.channels.channel_settings import ChannelContext


def channels_of(settings: Settings, environ: Mapping[str, str], clock: Clock) -> dict[str, Channel]:
    """Return the configured channels by name; secrets are read from *environ*, nothing is sent.

    Raises:
        InvalidConfig: A variable holds no secret or no URLs, a URL is none, or what the channel
            needs is not installed.
    """
    folder = None if settings.file is None else settings.file.absolute().parent
    return {
        name: each.open(ChannelContext(name=name, environ=environ, clock=clock, folder=folder))
        for name, each in settings.nudges.items()
    }
