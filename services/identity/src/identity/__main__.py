"""`python -m identity serve | consume | run | migrate`."""

from lyceum_kit.service import main

from identity.app import build
from identity.settings import Settings

if __name__ == "__main__":
    main(build, Settings)
