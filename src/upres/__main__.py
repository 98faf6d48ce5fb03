"""The command's first step, and so that ``python -m upres`` is the command, too."""

import os
import signal

# NumPy's products of matrices, small ones here, on the thread that asks for them: others would
# spin afterwards, in case there is another, on the cores that the engine wants.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Run the command; Ctrl-C while it is being loaded ends it without a word."""
    # Whoever started this in the background may have it ignore Ctrl-C: so it stays.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from upres.cli.main import main

    signal.signal(signal.SIGINT, before)
    main()


if __name__ == "__main__":
    main()
