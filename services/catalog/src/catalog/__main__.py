"""`python -m catalog serve | consume | run | migrate`."""

from catalog.app import build
from catalog.settings import Settings
from lyceum_kit.service import main

main(build, Settings)
