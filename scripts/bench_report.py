"""The figures of a bench that is a script, as bench/report.h writes those of the others."""

import json
import os
import platform
import sys

from recalld_process import MODEL


class Report:
    """bench: its folder's name."""

    def __init__(self, bench):
        self.bench = bench
        self.figures = []

    def add(self, name, value, unit, against=""):
        self.figures.append({"name": name, "value": float(value), "unit": unit, "against": against})
        print(f"{name:28}{value:14.6g}  {unit:12}{against}", flush=True)

    def write(self):
        """To $RECALLD_BENCH_OUT, when it is set."""
        path = os.environ.get("RECALLD_BENCH_OUT")
        if not path:
            return
        with open("/proc/cpuinfo") as file:
            model = next((line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")),
                         platform.machine())
        with open(path, "w") as file:
            json.dump({"bench": self.bench, "model": os.path.basename(MODEL),
                       "machine": f"{model}, {os.cpu_count()} cores",
                       "commit": os.environ.get("RECALLD_COMMIT", "unknown"), "figures": self.figures}, file)
            file.write("\n")
        print(f"figures: {path}", file=sys.stderr)
