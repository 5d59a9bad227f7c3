"""`python -m catalog serve | consume | run | migrate`."""

from lyceum_kit.service import main

from catalog.app import build
from catalog.settings import Settings

main(build, Settings)
