"""Every reason to refuse an upload: its code (the last part of the problem's type) and its title.

A `Refusal` names the cause and, where there is one, the entry of the archive, in a sentence for the author.
"""

from collections.abc import Mapping

REFUSALS: Mapping[str, str] = {
    # The archive as a whole.
    "package-empty": "The upload is empty",
    "not-a-zip": "Not a zip archive",
    "zip-truncated": "The zip archive ends too early",
    "zip-trailing-data": "Something follows the end of the zip archive",
    "zip-leading-data": "Something precedes the zip archive",
    "zip-end-ambiguous": "The zip archive has several ends",
    "zip-multi-disk": "Split zip archives are not accepted",
    "zip-zip64-invalid": "The zip64 information is broken",
    "zip-directory-invalid": "The zip archive's directory is broken",
    "zip-empty": "The zip archive is empty",
    "zip-too-many-entries": "Too many entries",
    "zip-unpacked-too-large": "Too large when unpacked",
    # One entry's name.
    "zip-path-traversal": "An entry's path leaves the package",
    "zip-absolute-path": "An entry's path is absolute",
    "zip-drive-letter": "An entry's path names a drive",
    "zip-backslash": "An entry's path contains a backslash",
    "zip-control-character": "An entry's name contains a control character",
    "zip-bidi-character": "An entry's name changes the direction of writing",
    "zip-name-encoding": "An entry's name cannot be decoded",
    "zip-name-too-long": "An entry's name is too long",
    "zip-name-not-nfc": "An entry's name is not in Unicode normal form C",
    "zip-name-reserved": "An entry's name is reserved",
    "zip-path-unclean": "An entry's path has an empty or '.' part",
    "zip-path-too-deep": "An entry's path is too deep",
    "zip-duplicate-name": "Two entries have the same name",
    "zip-name-twin": "Two entries' names differ in case or form only",
    "zip-file-and-folder": "A file and a folder have the same name",
    # One entry's kind and data.
    "zip-special-entry": "An entry is neither file nor folder",
    "zip-encrypted": "An entry is encrypted",
    "zip-compression-unsupported": "An entry's compression is not accepted",
    "zip-stored-size-mismatch": "An uncompressed entry has two different sizes",
    "zip-entry-outside-file": "An entry's data lies outside the archive",
    "zip-local-header-invalid": "An entry's local header is broken",
    "zip-header-mismatch": "An entry's two headers disagree",
    "zip-overlap": "Two entries share the same bytes",
    "zip-ratio": "An entry is compressed suspiciously well",
    "zip-size-mismatch": "An entry's size is not what it says",
    "zip-data-invalid": "An entry's data is broken",
    "zip-nested-bomb": "An archive inside the package is a trap",
    # Manifests.
    "manifest-missing": "No manifest",
    "manifest-not-at-root": "The manifest is not at the top of the zip",
    "manifest-name-case": "The manifest's name is spelt differently",
    "manifest-too-large": "The manifest is too large",
    "manifest-not-xml": "The manifest is not well-formed XML",
    "manifest-not-scorm": "The manifest is not a SCORM manifest",
    "manifest-no-organization": "The manifest's organisation is missing",
    "manifest-no-items": "The manifest has nothing to launch",
    "manifest-duplicate-identifier": "The manifest uses an identifier twice",
    "manifest-unknown-resource": "The manifest refers to a resource that is not in it",
    "manifest-launch-invalid": "A launch address is not usable",
    "manifest-launch-external": "A launch address is outside the package",
    "manifest-launch-missing": "A file to launch is not in the package",
    "manifest-mastery-score": "A mastery score is not a number from 0 to 100",
    "xml-doctype-forbidden": "DOCTYPE is not accepted",
    "xml-xinclude-forbidden": "XInclude is not accepted",
    "xml-too-deep": "The XML is nested too deeply",
    "cmi5-structure-invalid": "The cmi5 course structure is invalid",
    "cmi5-id-not-iri": "A cmi5 id is not an absolute IRI",
    "cmi5-duplicate-id": "A cmi5 id is used twice",
    "cmi5-url-invalid": "A cmi5 AU's address is invalid",
    "cmi5-query-conflict": "A cmi5 AU's address uses a reserved parameter",
    "cmi5-relative-url": "A cmi5 AU's address is relative without a zip",
    "cmi5-launch-missing": "A cmi5 AU's file is not in the package",
    # Understood, but later.
    "scorm-2004-not-supported": "SCORM 2004 is not yet supported",
    "scorm-version-not-supported": "This version of SCORM is not supported",
    "cmi5-not-supported": "cmi5 is not yet supported",
    # The check itself.
    "inspection-limit": "The check of the package took too much time or memory",
}


class Refusal(Exception):
    """An upload that is not kept, and why."""

    def __init__(self, code: str, detail: str, *, entry: str = "") -> None:
        assert code in REFUSALS, code
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.entry = entry


def quoted(name: str, *, most: int = 80) -> str:
    """`name` in quotes for a sentence: escaped, since it comes from a stranger, and cut."""
    shown = name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 :]}"
    return ascii(shown) if any(not c.isprintable() for c in shown) else repr(shown)
