"""The command's first step, and so that ``python -m upres`` is the command, too."""


def main() -> None:
    """Run the command; Ctrl-C while it is being loaded ends it without a word."""
    from upres.cli.process import ctrl_c_ends_at_once, look_for_circles_seldom

    look_for_circles_seldom()
    with ctrl_c_ends_at_once():
        from upres.cli.main import main

    main()


if __name__ == "__main__":
    main()
