"""What may be wrong, and what to do about it: with this machine's installation (`machine`), or one far away (`installation`)."""

from lyceum_local.doctor.reports import Finding

__all__ = ["Finding"]
