"""Where in the tree a media server's libraries lie, and by which paths the server knows them. Pure."""

from collections.abc import Mapping

# Folders of the tree through which downloads pass. They are no library unless somebody says so.
PASSAGES = ("torrents", "ddl")


def within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it; "" is the root of the tree."""
    return not folder or path == folder or path.startswith(folder + "/")


def above(path: str) -> str:
    """The folder that holds `path`; "" holds itself."""
    return path.rpartition("/")[0]


class Paths:
    """Folders of the tree and what they are called by one server. Tree paths have no leading slash."""

    def __init__(self, known: Mapping[str, str]) -> None:
        """`known`: tree path -> the server's path, which may be a Windows one."""
        self._known = {folder.strip("/"): told for folder, told in known.items()}
        # The longest first: it decides.
        self.folders = tuple(sorted(self._known, key=lambda folder: (-len(folder), folder)))

    def holding(self, path: str) -> str | None:
        """The known folder that `path` lies in; None if this server is not to hear of it."""
        folder = next((one for one in self.folders if within(path, one)), None)
        if folder is None:
            return None
        passing = next((one for one in PASSAGES if within(path, one)), None)
        return folder if passing is None or within(folder, passing) else None

    def told(self, path: str) -> str | None:
        """What the server calls this path of the tree; None if it is not to hear of it."""
        folder = self.holding(path)
        if folder is None:
            return None
        root, rest = self._known[folder], path[len(folder) :].strip("/")
        slash = _slash(root)
        return slash.join([root.rstrip(slash), *(rest.split("/") if rest else ())]) or slash

    def in_tree(self, told: str) -> str | None:
        """The path of the tree that the server calls `told`; None if it lies in none of the known folders."""
        found = None
        for folder, root in self._known.items():
            slash = _slash(root)
            base = root.rstrip(slash)
            if (told.rstrip(slash) + slash).startswith(base + slash) and (found is None or len(base) > len(found[0])):
                rest = told[len(base) :].strip(slash).replace(slash, "/")
                found = base, "/".join(part for part in (folder, rest) if part)
        return None if found is None else found[1]

    def roots(self) -> list[str]:
        """The known folders as the server calls them."""
        return [self._known[folder] for folder in self.folders]


def _slash(root: str) -> str:
    return "\\" if "\\" in root and "/" not in root else "/"
