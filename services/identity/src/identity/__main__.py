"""`python -m identity serve | consume | run | migrate`."""

from identity.app import build
from identity.settings import Settings
from lyceum_kit.service import main

if __name__ == "__main__":
    main(build, Settings)
