"""`python -m ee_ref` is `ee-ref`."""

import sys

from .cli import main

sys.exit(main())
