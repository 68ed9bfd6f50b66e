"""Real servers for the tests: each a class with start() and stop(), on loopback addresses and free ports."""
