"""Writes the inputs that fuzzing begins with, from small generated dumps and tests/bad: seeds.py DISCODIFF CORPUS."""

import gzip
import pathlib
import re
import subprocess
import sys
import tempfile

KINDS = ["artist", "label", "master", "release"]
program, corpus = sys.argv[1], pathlib.Path(sys.argv[2])
bad = pathlib.Path(__file__).parent.parent / "tests" / "bad"


def put(target, name, data):
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def dump(name, kind, xml):
    number = bytes([KINDS.index(kind)])
    # The file as it is, and how it is cut: see the target.
    put("splitter", name, number + bytes([7, 1, 64]) + xml)
    for at, record in enumerate(re.findall(rb"<%b[ >].*?</%b>\n" % (kind.encode(), kind.encode()), xml, re.DOTALL)[:40]):
        put("readers", f"{name}-{at}", number + record.rstrip(b"\n"))


with tempfile.TemporaryDirectory() as folder:
    subprocess.run([program, "generate", folder, "--months", "1", "--releases", "16"], check=True, capture_output=True)
    for file in pathlib.Path(folder).glob("**/*.xml.gz"):
        kind = next(kind for kind in KINDS if f"_{kind}s." in file.name)
        dump(kind, kind, gzip.decompress(file.read_bytes()))
    month = next(path for path in pathlib.Path(folder).iterdir() if path.is_dir())
    state = pathlib.Path(folder) / "state"
    subprocess.run([program, "refresh", "--dumps", month, "--state", state, "--null"], check=True, capture_output=True)
    manifest = state.joinpath("manifest.json").read_bytes().split(b'"manifest": ', 1)[1].rstrip()[:-1].rstrip()
    fingerprints = state.joinpath("g1-0.fingerprints").read_bytes()
for file in bad.glob("*.xml"):
    kind = next((kind for kind in KINDS if file.name.startswith(kind)), "artist")
    dump(file.stem, kind, file.read_bytes())
# What is edited, and how: see the target.
for file in range(7):
    for how in range(3):
        put("damaged_state", f"file-{file}-{how}", bytes([file, how, 50, 0, 1]))
# The content of a state's files without their checksums, and rows, texts and entries of nothing: see the target.
put("forged_state", "manifest", b"\0" + manifest)
put("forged_state", "fingerprints", b"\2" + fingerprints[48:-8])
for file in range(7):
    put("forged_state", f"file-{file}", bytes([file]) + bytes(range(1, 25)) * 4)
put("forged_state", "texts", b"\5" + bytes([1, 0, 0, 0, 3, 0, 0, 0]) + b"abc" + bytes([64, 0, 0, 0, 1, 0, 0, 0]) + b"d")
