"""`python -m talkface` is the command line."""

from talkface.cli import main

if __name__ == "__main__":
    main()
