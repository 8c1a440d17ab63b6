"""`python -m scmultimodal.cli`."""

import sys

from scmultimodal.cli import main

if __name__ == "__main__":
    sys.exit(main())
