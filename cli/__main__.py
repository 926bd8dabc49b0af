"""`python -m cli` is the same as `mediapool`."""

from cli.main import main

if __name__ == "__main__":
    main()
