"""Signals as a program at a terminal takes them."""

import signal


def restore_terminal_signals() -> None:
    """Take signals as at a terminal, however this process was started.

    `nohup` has SIGHUP ignored, and a shell SIGINT and SIGQUIT of what it runs in the background;
    programs that this process starts would inherit it.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)
