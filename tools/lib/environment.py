"""Lets a script of tools/ run as it is: where this Python lacks a package it goes on in tools/venv.

Import only: it has no command line.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

_PACKAGES = ["torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "skimage", "sklearn"]
_ENTERED = "GRAFT_TOOLS_IN_VENV"


def enter(*more: str) -> None:
    """Call before importing anything that is not part of Python; `more` is needed beside the usual."""
    _enter([*_PACKAGES, *more])


def enter_onnxruntime() -> None:
    """As `enter`, for scripts that need only ONNX, onnxruntime and NumPy, in the small environment."""
    _enter(["onnx", "onnxruntime", "ml_dtypes"], "onnxruntime")


def _enter(packages: list[str], *arguments: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if not missing:
        return
    if _ENTERED in os.environ:
        sys.exit(f"tools/venv lacks {', '.join(missing)}; delete its folder and run it again")
    make = pathlib.Path(__file__).resolve().parent.parent / "venv"
    made = subprocess.run([make, *arguments], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        sys.exit(made.returncode)
    python = f"{made.stdout.strip()}/bin/python"
    os.environ[_ENTERED] = "1"
    os.execv(python, [python, *sys.argv])
