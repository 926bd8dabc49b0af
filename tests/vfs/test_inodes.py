from pathlib import Path

from vfs.inodes import Inodes
from vfs.namesdb import NamesDb


def test_sixteen_bits_of_drive_and_forty_eight_of_number(tmp_path: Path) -> None:
    db = NamesDb(tmp_path / "names.db")
    inodes = Inodes(db)
    assert inodes.visible(3, 77, 0) == 3 << 48 | 77
    assert inodes.visible(4, 77, 0) != inodes.visible(3, 77, 0)
    db.close()


def test_wide_numbers_and_aliases_survive_a_restart(tmp_path: Path) -> None:
    db = NamesDb(tmp_path / "names.db")
    inodes = Inodes(db)
    wide = [inodes.visible(1, (1 << 63) + number, 5) for number in range(4)]
    inodes.alias(2, 10, 99, 4242)
    db.close()
    db = NamesDb(tmp_path / "names.db")
    again = Inodes(db)
    assert [again.visible(1, (1 << 63) + number, 5) for number in range(4)] == wide
    assert len(set(wide)) == 4 and all(0 < number < 1 << 63 for number in wide)
    assert again.visible(2, 10, 99) == 4242
    assert again.visible(1, (1 << 63) + 9, 5) not in wide
    db.close()


def test_a_reused_number_is_another_file(tmp_path: Path) -> None:
    db = NamesDb(tmp_path / "names.db")
    inodes = Inodes(db)
    inodes.alias(2, 10, 99, 4242)
    assert inodes.visible(2, 10, 100) == 2 << 48 | 10
    first = inodes.visible(1, 1 << 50, 1)
    assert inodes.visible(1, 1 << 50, 2) != first
    assert inodes.visible(1, 1 << 51, 2) not in (first, inodes.visible(1, 1 << 50, 2))
    db.close()
