"""Uploaded packages: what is looked at before anything is kept. Nothing in here knows HTTP, SQL or the kit.

refusal.py     every reason to refuse, each with a code of its own
names.py       PURE: which entry names are fit to be served
archive.py     a strict zip reader that counts real bytes
markup.py      XML without DOCTYPE, entities, XInclude or network
scorm.py       imsmanifest.xml → launchable items
cmi5.py        cmi5.xml → what is wrong with it
inspection.py  the whole check, run in a process of its own with limits on time and memory
"""
