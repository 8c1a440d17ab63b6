"""`python -m experiments.evaluation`: what it does is in `command`."""

import sys

from experiments.evaluation import command

if __name__ == "__main__":
    sys.exit(command.main())
