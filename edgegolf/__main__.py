"""`python -m edgegolf`."""

from edgegolf.cli import main

if __name__ == "__main__":
    main()
