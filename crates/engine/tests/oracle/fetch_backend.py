"""Fetches the operator tests of ONNX: oracle/fetch_backend.py FOLDER

They stand in the wheel of the last release that carries them, each a model with inputs and expected outputs. The wheel is
unpacked and never installed, so that any interpreter will do.
"""

import fcntl
import pathlib
import subprocess
import sys
import tempfile
import zipfile

RELEASE = "onnx==1.17.0"
WHEEL = ["--python-version", "3.11", "--platform", "manylinux2014_x86_64", "--only-binary=:all:", "--no-deps"]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    # Tests that need it start together.
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            fetch(folder)
            (folder / "complete").touch()


def fetch(folder):
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "-d", temporary]
        subprocess.run([*command, *WHEEL, RELEASE], check=True)
        (wheel,) = pathlib.Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith("onnx/backend/test/data/") and name.endswith((".onnx", ".pb")):
                    archive.extract(name, folder)


main()
