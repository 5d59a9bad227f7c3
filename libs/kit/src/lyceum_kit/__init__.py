"""The service chassis every Lyceum service stands on. It knows no word of the domain."""
