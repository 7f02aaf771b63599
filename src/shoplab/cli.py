"""The console command ``shoplab``."""

from __future__ import annotations

import sys

from shoplab.errors import LabError
from shoplab.system import require_supported_system


def main() -> None:
    """Run a command; an error of ours is text on stderr and exit status 1, not a traceback."""
    try:
        require_supported_system()
        from shoplab.commands import commands  # it imports what an unsupported system lacks

        commands()
    except LabError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
