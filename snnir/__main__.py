"""`python -m snnir` is the command line."""

import sys

from snnir.cli import main

sys.exit(main())
