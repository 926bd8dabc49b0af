"""What a look at a file as media may end with, instead of facts."""


class _Reason(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotMedia(_Reason):
    """The file is not what it should be; `reason` says why, for people."""


class ProbeTrouble(_Reason):
    """Nothing was learned of the file: no ffprobe, or it cannot be read now, by `reason`."""


class ProbeFailed(ProbeTrouble):
    """ffprobe gave no answer in time, or crashed: of the same file it mostly does so again."""
