"""Manifests as authoring tools write them."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from catalog.packages.markup import read_xml
from catalog.packages.scorm import Files, Item, launch_path, read_manifest

MANIFEST = b"""<manifest xmlns="http://www.imsproject.org/xsd/imscp_rootv1p1p2"
  xmlns:adlcp="http://www.adlnet.org/xsd/adlcp_rootv1p2" xml:base="content/">
  <organizations default="second">
    <organization identifier="first"><title>Not this</title></organization>
    <organization identifier="second"><title> A
      course </title>
      <item identifier="chapter"><title>Chapter</title>
        <item identifier="one" identifierref="r1" parameters="?page=1"><title>One</title>
          <adlcp:masteryscore>80</adlcp:masteryscore><adlcp:datafromlms>k=v</adlcp:datafromlms>
          <adlcp:prerequisites type="aicc_script">zero</adlcp:prerequisites></item>
        <item identifier="two" identifierref="r2" parameters="#end"/>
      </item>
    </organization>
  </organizations>
  <resources xml:base="unit/">
    <resource identifier="r1" adlcp:scormtype="SCO" href="My%20Page.html?x=1#top"/>
    <resource identifier="r2" xml:base="../" adlcp:scormtype="asset" href="PICTURE.png"/>
  </resources>
</manifest>"""


def test_items_come_in_order_with_what_the_manifest_says_of_them() -> None:
    manifest = read_manifest(
        read_xml(MANIFEST, "imsmanifest.xml"), ["content/unit/My Page.html", "content/picture.png"]
    )
    assert manifest.title == "A course"
    assert manifest.items == [
        Item("one", "One", "content/unit/My%20Page.html?x=1&page=1#top", True, 80.0, "k=v"),
        Item("two", "two", "content/picture.png#end", False, None, ""),
    ]


NAMES: Mapping[str, str] = {"a.html": "a.html", "b/c d.html": "b/c%20d.html", "ü.html": "%C3%BC.html"}


@given(st.sampled_from(sorted(NAMES)), st.sampled_from(["", "./", "b/../", "x/y/../../"]))
def test_an_address_leads_to_the_file_however_it_is_written(name: str, detour: str) -> None:
    files = Files(list(NAMES))
    assert launch_path(detour + name, "", files) == NAMES[name]
    assert launch_path(detour + NAMES[name], "", files) == NAMES[name]
