"""The planner of discs, measured: 100,000 photos and videos, for each medium, order and rule of staying together.

`scripts/bench archive`. Judged: discs over the lower bound, folders split although they fit on one disc, discs over
their capacity (by the sizes of files, sectors and a directory record each, counted here anew), seconds.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from ending import ended

from indexer.discs import Medium, medium
from indexer.planning import Entry, Order, Plan, Together, plan

SECONDS = 2.0
OVER = 1


def entries(count: int, seed: int) -> list[Entry]:
    """Events of 1 to 60 photos, some with videos, over 20 years; mostly 1 to 12 MB, videos up to 4 GB."""
    chance = random.Random(seed)
    made: list[Entry] = []
    event = 0
    while len(made) < count:
        event += 1
        day = f"{2004 + event % 20}-{event // 20 % 12 + 1:02}-{event % 28 + 1:02}"
        folder = f"media/photos/{day[:4]}/{day[5:7]}/{day} event {event}"
        for number in range(min(chance.randint(1, 60), count - len(made))):
            if chance.random() < 0.02:
                size, name = int(min(4e9, chance.lognormvariate(18.5, 1.2))), f"MOV_{number:04}.mp4"
            else:
                size, name = int(chance.lognormvariate(15, 0.6)), f"IMG_{number:04}.jpg"
            made.append(Entry(f"{folder}/{name}", size, None, day))
    return made


def split_though_fitting(files: Sequence[Entry], made: Plan, together: Together, disc: Medium) -> int:
    """Groups on several discs whose files, with two sectors each and eight more, would fit on one."""
    discs: dict[str, set[int]] = {}
    sizes: dict[str, int] = {}
    for number, members in enumerate(made.volumes):
        for entry in (files[at] for at in members):
            key = entry.path.rpartition("/")[0] if together == "folder" else entry.date
            discs.setdefault(key, set()).add(number)
            sizes[key] = sizes.get(key, 16384) + sectors(entry.size) + 4096
    return sum(len(discs[key]) > 1 and sizes[key] <= disc.usable for key in discs)


def sectors(size: int) -> int:
    return -(-size // 2048) * 2048


def judged(files: Sequence[Entry], disc: Medium, together: Together, order: Order) -> dict[str, object]:
    """One row: the plan made, timed and checked."""
    began = time.perf_counter()
    made = plan(files, disc, together=together, order=order)
    seconds = time.perf_counter() - began
    if sorted(at for members in made.volumes for at in members) != list(range(len(files))):
        raise OSError("files are missing in the plan, or there twice")
    fullest = max(sum(sectors(files[at].size) + 160 for at in members) for members in made.volumes)
    return {
        "medium": disc.name,
        "together": together,
        "order": order,
        "seconds": round(seconds, 3),
        "discs": made.price.discs,
        "lower_bound": made.price.lower_bound,
        "fill": round(made.price.fill, 4),
        "split": 0 if together == "nothing" else split_though_fitting(files, made, together, disc),
        "over": fullest > disc.capacity / (1 + disc.ecc),
    }


def run(arguments: argparse.Namespace) -> int:
    files = entries(arguments.files, arguments.seed)
    discs = [medium("bd25"), medium("bd25", ecc=0.2), medium("bd50"), medium("bd100", ecc=0.2)]
    combined = product(discs, ("folder", "date", "nothing"), ("ffd", "date"))
    rows = [judged(files, disc, together, order) for disc, together, order in combined]  # type: ignore[arg-type]
    print(f"{len(files)} files, {sum(entry.size for entry in files) / 1e9:.0f} GB")
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    by_default = [row for row in rows if row["together"] == "folder" and row["order"] == "ffd"]
    missed = [row for row in by_default if int(str(row["discs"])) > int(str(row["lower_bound"])) + OVER]
    missed += [row for row in rows if row["split"] or row["over"]]
    missed += [row for row in by_default if len(files) >= 100_000 and float(str(row["seconds"])) >= SECONDS]
    if arguments.json:
        arguments.json.write_text(json.dumps({"files": len(files), "rows": rows, "missed": missed}, indent=1))
    print("All targets are met." if not missed else f"Missed: {missed}")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the planner of discs.")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    return ended(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
