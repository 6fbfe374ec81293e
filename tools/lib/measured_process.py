"""Runs a command and prints, as JSON, the `seconds` it took, the `peak_bytes` it had and its `output`.

usage: python -S measured_process.py COMMAND [ARGUMENT…]

A process of its own and a small one: until it starts another program a child has its parent's memory,
and Linux counts that into the child's peak, which would be that of PyTorch. The command's status
becomes this one's.
"""

import json
import os
import sys
import time

start = time.perf_counter()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.dup2(writing, 1)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror}", file=sys.stderr)
        os._exit(127)
os.close(writing)
with open(reading, encoding="utf-8", errors="replace") as pipe:
    output = pipe.read()
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024, "output": output}))
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
