"""Makes a party's long-term key pair: ``python -m airflow_provider_fate.keys``."""

from __future__ import annotations

import os
import sys

from airflow_provider_fate.runtime.federation.keys import SIZE, Keys, encode_key, fingerprint


def main(arguments: list[str]) -> int:
    """Print a fresh key pair. :returns: the exit code"""
    if arguments:
        print(f"usage: python -m {__package__}.keys", file=sys.stderr)
        return 2
    keys = Keys(os.urandom(SIZE))
    print(f"private key  {encode_key(keys.private)}")
    print(f"public key   {encode_key(keys.public)}")
    print(f"fingerprint  {fingerprint(keys.public)}")
    print()
    print("The private key goes into the field of this name of your own fate_rabbitmq connection, and nowhere else.")
    print("The public key goes to the other parties, who pin it in peer_keys by your party id; compare the")
    print("fingerprint with them by telephone.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
