"""`python -m rescind` is `rescind`."""

from rescind.cli import main

if __name__ == "__main__":
    main()
