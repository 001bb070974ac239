"""The program: `python -m grainstore` is the same as `grainstore`."""

import sys

from ._program import main

sys.exit(main())
