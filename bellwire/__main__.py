"""`python -m bellwire`: the command line without an installed script."""

from bellwire.cli import main

main()
