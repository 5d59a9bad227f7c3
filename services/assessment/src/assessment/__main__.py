"""`python -m assessment serve | consume | migrate`."""

from lyceum_kit.service import main

from assessment.app import build
from assessment.settings import Settings

if __name__ == "__main__":
    main(build, Settings)
