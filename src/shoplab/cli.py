"""The console command ``shoplab``."""

from __future__ import annotations

import sys

from shoplab.errors import LabError, unforeseen
from shoplab.paths import error_log
from shoplab.system import require_supported_system


def main() -> None:
    """Run a command; an error is text on stderr and exit status 1, not a traceback."""
    try:
        require_supported_system()
        from shoplab.commands import commands  # it imports what an unsupported system lacks

        commands()
    except LabError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the top of the program: all else is told here
        print(unforeseen(error, error_log()), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
