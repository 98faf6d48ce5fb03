"""So that ``python -m upres`` is the command, too."""

from upres.cli import main

main()
