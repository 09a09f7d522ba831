"""``python -m facemeld``."""

from facemeld.cli import main

if __name__ == "__main__":
    main()
