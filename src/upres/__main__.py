"""The command's first step, and so that ``python -m upres`` is the command, too."""

import signal


def main() -> None:
    """Run the command; Ctrl-C while it is being loaded ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from upres.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


if __name__ == "__main__":
    main()
