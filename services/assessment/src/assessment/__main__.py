"""`python -m assessment serve | consume | migrate`."""

from assessment.app import build
from assessment.settings import Settings
from lyceum_kit.service import main

if __name__ == "__main__":
    main(build, Settings)
