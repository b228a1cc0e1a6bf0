"""`python -m prudent`: the same as the command `prudent`."""

from prudent.cli import main

if __name__ == "__main__":
    main()
