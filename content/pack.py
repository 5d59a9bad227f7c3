"""Packs the demo's courses: `python content/pack.py <folder>` writes real SCORM 1.2 and cmi5 zips into it.

A package is a folder under packages/ with a package.json; packages/shared goes into each. The same sources give the
same bytes everywhere, so a package that was uploaded before is recognised. Standard library only.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

HERE = Path(__file__).resolve().parent
# Zip entries have a time; a fixed one keeps the bytes the same.
EPOCH = (2026, 1, 1, 0, 0, 0)
CMI5_ROOT = "https://lyceum.example/courses"


def pack_all(target: Path) -> list[Path]:
    """Pack every package in every format it names; the written files, `<name>-<format>.zip`."""
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for source in sorted((HERE / "packages").iterdir()):
        if not (source / "package.json").is_file():
            continue
        package = json.loads((source / "package.json").read_text(encoding="utf-8"))
        for kind in package["formats"]:
            file = target / f"{source.name}-{kind}.zip"
            _write(file, _files(source, package, kind))
            written.append(file)
    return written


def _files(source: Path, package: dict[str, Any], kind: str) -> dict[str, bytes]:
    found = {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for folder in (HERE / "packages" / "shared", source)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "package.json"
    }
    if kind == "scorm12":
        return {"imsmanifest.xml": scorm12_manifest(package, sorted(found)).encode(), **found}
    return {"cmi5.xml": cmi5_manifest(package).encode(), **found}


def scorm12_manifest(package: dict[str, Any], files: list[str]) -> str:
    """imsmanifest.xml: one organisation, an item and a resource for each SCO, the shared files as a dependency."""
    items: list[str] = []
    resources: list[str] = []
    launched = {sco["launch"] for sco in package["scos"]}
    for sco in package["scos"]:
        score = sco.get("mastery_score")
        mastery = f"<adlcp:masteryscore>{score}</adlcp:masteryscore>" if score is not None else ""
        items.append(
            f"      <item identifier={quoteattr(sco['identifier'])} identifierref={quoteattr('res-' + sco['identifier'])}>"
            f"<title>{escape(sco['title'])}</title>{mastery}</item>"
        )
        resources.append(
            f'    <resource identifier={quoteattr("res-" + sco["identifier"])} type="webcontent"'
            f' adlcp:scormtype="sco" href={quoteattr(sco["launch"])}>'
            f'<file href={quoteattr(sco["launch"])}/><dependency identifierref="shared"/></resource>'
        )
    shared = "".join(f"<file href={quoteattr(file)}/>" for file in files if file not in launched)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<manifest identifier={quoteattr(package["identifier"])} version="1.0"
    xmlns="http://www.imsproject.org/xsd/imscp_rootv1p1p2" xmlns:adlcp="http://www.adlnet.org/xsd/adlcp_rootv1p2">
  <metadata><schema>ADL SCORM</schema><schemaversion>1.2</schemaversion></metadata>
  <organizations default="course">
    <organization identifier="course">
      <title>{escape(package["title"])}</title>
{chr(10).join(items)}
    </organization>
  </organizations>
  <resources>
{chr(10).join(resources)}
    <resource identifier="shared" type="webcontent" adlcp:scormtype="asset">{shared}</resource>
  </resources>
</manifest>
"""


def cmi5_manifest(package: dict[str, Any]) -> str:
    """cmi5.xml: the course and an AU for each part."""
    root = f"{CMI5_ROOT}/{package['identifier']}"

    def texts(title: str, description: str) -> str:
        return "".join(
            f'<{name}><langstring lang="en">{escape(text)}</langstring></{name}>'
            for name, text in (("title", title), ("description", description))
        )

    aus = "\n".join(
        f'  <au id={quoteattr(root + "/" + sco["identifier"])} moveOn="CompletedOrPassed"'
        + (f' masteryScore="{sco["mastery_score"] / 100}"' if "mastery_score" in sco else "")
        + f">{texts(sco['title'], package['description'])}<url>{escape(sco['launch'])}</url></au>"
        for sco in package["scos"]
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<courseStructure xmlns="https://w3id.org/xapi/profiles/cmi5/v1/CourseStructure.xsd">
  <course id={quoteattr(root)}>{texts(package["title"], package["description"])}</course>
{aus}
</courseStructure>
"""


def _write(file: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    for written in pack_all(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")):
        sys.stdout.write(f"{written}\n")
