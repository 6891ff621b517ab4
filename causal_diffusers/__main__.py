"""Run the command line as `python -m causal_diffusers`."""

import sys

from causal_diffusers.cli import main

if __name__ == "__main__":
    sys.exit(main())
