"""How long `prudent --help` takes, beside starting Python."""

import subprocess
import sys

from benchmarks import Row, alternate


def run() -> list[Row]:
    def ours() -> None:
        subprocess.run([sys.executable, "-m", "prudent.cli", "--help"], check=True, stdout=subprocess.DEVNULL)

    own, other = alternate(ours, lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), turns=7)
    return [
        Row(
            work="prudent --help",
            beside="starting Python",
            seconds=own,
            other=other,
            promise="<= 0.4 s",
            kept=own <= 0.4,
        )
    ]
