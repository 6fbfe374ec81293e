"""The measured parts of docs/performance.md. Import only: it has no command line."""

import datetime
import pathlib
import re


def replace(page: pathlib.Path, part: str, text: str) -> None:
    """Puts `text` between the page's two marks of `part`."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    content = page.read_text()
    if begin not in content or end not in content:
        raise SystemExit(f"{page} has no place marked {begin} … {end}")
    head, rest = content.split(begin, 1)
    page.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def processor() -> str:
    """What the kernel calls the processor, and its widest vectors."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    family = re.search(r"cpu family\s*:\s*(\d+)\nmodel\s*:\s*(\d+)", info)
    width = next((f for f in ("amx_tile", "avx512f", "avx2") if f in info), "no AVX2")
    number = f", family {family[1]} model {family[2]}" if family else ""
    return f"{name[1].strip() if name else 'unknown'}{number}, {width}"


def kind() -> str:
    """The maker of the processor, `amd`, `intel` or as the kernel names it, and `avx512` or `avx2`."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"vendor_id\s*:\s*(\S+)", info)
    known = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}
    maker = known.get(name[1], name[1]) if name else "other"
    return f"{maker}-{'avx512' if 'avx512f' in info else 'avx2'}"


def conditions(what: str, fewest: int, most: int) -> str:
    """One line under which a table was measured; `what` names threads, versions and the like, the
    numbers of rounds are those of its rows."""
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    times = "one round" if most == 1 else f"medians of {count} rounds"
    return f"Measured {datetime.date.today()}: {processor()}; {what}; {times}."
