"""The `graft` executable as a Python object. Import only: it has no command line."""

import json
import pathlib
import subprocess
import tempfile
import time
import urllib.parse

import numpy as np


class Failed(Exception):
    """graft exited with a status other than 0; the message is the end of what it said."""


class Graft:
    """Runs commands of one executable and keeps the seconds that the last one took."""

    def __init__(self, executable: str):
        self.executable, self.seconds = executable, 0.0
        self.told = ""  # standard error of the last command

    def call(self, *arguments) -> str:
        """Standard output of one command."""
        start = time.time()
        done = subprocess.run(
            [self.executable, *map(str, arguments)], capture_output=True, text=True
        )
        self.seconds = time.time() - start
        self.told = done.stderr
        if done.returncode != 0:
            raise Failed(
                f"graft {arguments[0]} exited with {done.returncode}: {done.stderr.strip()[-600:]}"
            )
        return done.stdout

    def json(self, *arguments):
        """Standard output of one command, parsed."""
        return json.loads(self.call(*arguments))

    def run(self, bundle: pathlib.Path, inputs: dict, *options) -> dict:
        """`graft run`: arrays in by name, arrays out by name."""
        with tempfile.TemporaryDirectory() as folder:
            given = []
            for i, (name, value) in enumerate(inputs.items()):
                np.save(f"{folder}/{i}.npy", value)
                given += ["--input", f"{name}={folder}/{i}.npy"]
            self.call("run", bundle, *given, "--output-dir", f"{folder}/out", *options)
            files = pathlib.Path(f"{folder}/out").glob("*.npy")
            return {urllib.parse.unquote(f.stem): np.load(f) for f in files}
