"""`python -m scmultimodal`, where the program is not on the path."""

import sys

from scmultimodal.cli import main

if __name__ == "__main__":
    sys.exit(main())
