"""`python -m art2real.cli`: the same as `art2real-cli`."""

from art2real.cli.main import main

main()
