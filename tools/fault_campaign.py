"""Play the campaign of faults (tests/faults) and report: tried, as promised, lost.

    python tools/fault_campaign.py [--only PATTERN] [--list] [--keep FOLDER]

Exit code 1 if any fault was lost. With --keep the files of lost faults stay below FOLDER.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "support"), str(ROOT)]

from campaign import all_faults  # noqa: E402
from playing import play_all  # noqa: E402
from scenes import Stage  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="PATTERN", help="faults whose name has this")
    parser.add_argument("--list", action="store_true", help="print the names and play nothing")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="files of lost faults stay here"
    )
    options = parser.parse_args()
    faults = [fault for fault in all_faults() if re.search(options.only, fault.name)]
    if options.list:
        print("\n".join(fault.name for fault in faults))
        return 0
    begun, lost, tried = time.monotonic(), Counter[str](), Counter[str]()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        stage = Stage(options.keep.resolve() if options.keep else Path(scratch))
        for verdict in play_all(faults, stage, keep=options.keep is not None):
            kind = verdict.fault.partition("/")[0]
            tried[kind] += 1
            if verdict.lost:
                lost[kind] += 1
                print(f"LOST {verdict.fault} ({verdict.seconds:.1f} s)")
                for line in verdict.lost:
                    print(f"     {' '.join(line.split())}")
                print(f"     $ {verdict.command}")
                if verdict.kept:
                    print(f"     in {verdict.kept}")
    print(f"\n{'kind':<12}{'tried':>7}{'as promised':>13}{'lost':>6}")
    for kind, count in [*tried.items(), ("all", tried.total())]:
        n_lost = lost.total() if kind == "all" else lost[kind]
        print(f"{kind:<12}{count:>7}{count - n_lost:>13}{n_lost:>6}")
    print(f"in {time.monotonic() - begun:.0f} s")
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
