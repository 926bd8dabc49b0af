"""One request of a client: its parameters, read as qBittorrent reads them, whether in the address or in a form."""

from flask import request


class Bad(Exception):
    """The request cannot be answered; `status` as qBittorrent has it."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


class Call:
    """The parameters of the request under way."""

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        return request.values.get(name, default)

    def given(self, name: str) -> str | None:
        """A text, None if it is not there."""
        return request.values.get(name)

    def need(self, name: str) -> str:
        """A text that has to be there, 400 if it is not."""
        found = request.values.get(name)
        if found is None:
            raise Bad(400, f"{name} is missing")
        return found

    def flag(self, name: str) -> bool | None:
        """True or false in any case, as .NET writes them; None for anything else."""
        return {"true": True, "false": False}.get(self.text(name).strip().lower())

    def number(self, name: str) -> int:
        """A whole number, 0 for anything else."""
        text = self.text(name).strip()
        digits = text.removeprefix("-")
        return int(text) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else 0

    def words(self, name: str, between: str) -> list[str]:
        """The parts of a text that has to be there, blank ones left out."""
        return [word.strip() for word in self.need(name).split(between) if word.strip()]

    def files(self, longest: int) -> list[bytes]:
        """All uploaded files, whatever their fields are called, none longer than `longest` bytes: 413."""
        uploads = [each for _, each in request.files.items(multi=True)]
        found = [each.stream.read(longest + 1) for each in uploads]
        for each in uploads:
            each.close()
        if any(len(raw) > longest for raw in found):
            raise Bad(413, "the file is too large")
        return found
