"""The service chassis every Lyceum service stands on. It knows no word of the domain."""

VERSION = "0.1.0"  # of this release: all services of an installation tell it, and all projects carry it
