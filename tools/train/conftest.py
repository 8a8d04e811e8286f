"""Lets the tests import the recipe's modules the way its scripts do."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
