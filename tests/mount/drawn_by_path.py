"""`mediapool` whose policy "rand" draws the same lot each time for the same path below a top folder.

A program of its own, given to `Mounted` as `program`: random drives, and still a test that can be repeated.
"""

from collections.abc import Sequence
from random import Random

from cli.main import main
from placement import policies
from placement.policies import Candidate


def by_path(candidates: Sequence[Candidate], path: str, size_hint: int | None, random: Random) -> list[Candidate]:
    below = path.partition("/")[2].encode(errors="surrogateescape")
    return drawn(candidates, path, size_hint, Random(below))


if __name__ == "__main__":
    drawn = policies.POLICIES["rand"]
    policies.POLICIES["rand"] = by_path
    main()
