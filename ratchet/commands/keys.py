"""`ratchet keys`: make an API key, or list whose there are."""

import argparse
import sys

from ratchet.errors import ConfigurationError, as_configuration_error
from ratchet.settings import flags_of, read
from server.api.tenants import KeysInvalid, add_key, read_keys
from server.settings import ServerSettings


def keys(arguments: argparse.Namespace) -> int:
    """Print the new key, or a line for each key there is."""
    settings = read(ServerSettings, flags_of(arguments))
    if settings.keys_file is None:
        raise ConfigurationError("which file? set keys_file")
    limits = {
        "requests_per_minute": arguments.requests_per_minute,
        "tokens_per_minute": arguments.tokens_per_minute,
    }
    with as_configuration_error(KeysInvalid, OSError):
        if arguments.action == "add":
            if arguments.name is None:
                raise ConfigurationError("whose key? `ratchet keys add NAME`")
            print(add_key(settings.keys_file, arguments.name, **limits))
            print("shown this once; only its hash is kept", file=sys.stderr)
        else:
            for line in read_keys(settings.keys_file):
                print(line.model_dump_json(exclude_defaults=True, exclude={"sha256"}))
    return 0
