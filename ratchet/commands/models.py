"""`ratchet model`: makes a model that comes as a package, for other commands to use."""

import argparse

from ratchet.local.models import folder_of
from ratchet.settings import StackSettings, flags_of, read


def make_model(arguments: argparse.Namespace) -> int:
    """Make it unless it is there, and print its folder."""
    settings = read(StackSettings, flags_of(arguments))
    print(folder_of(arguments.name, settings.models_dir))
    return 0
