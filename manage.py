#!/usr/bin/env python3
"""The studio's commands. Any Python can read this file, so that an old one can say which it should have been."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    found = ".".join(str(number) for number in sys.version_info[:2])
    sys.exit("The studio needs Python 3.11 or newer and this is " + found + ". Start it as: python3.11 manage.py up")

from studio.bootstrap import main

if __name__ == "__main__":
    main(sys.argv)
