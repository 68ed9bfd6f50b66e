"""What the Makefile runs: setting up, the demo, the tests. No part of the installed package."""
