"""`python -m enrollment serve | consume | migrate`."""

from enrollment.app import build
from enrollment.settings import Settings
from lyceum_kit.service import main

main(build, Settings)
