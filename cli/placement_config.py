"""The section [placement] of the configuration, and the rules in it."""

from pydantic import Field, field_validator, model_validator

from cli import values
from cli.problems import refuse
from cli.section import Section, key
from placement.matching import Keep
from placement.purposes import Regular
from placement.rules import Rule


class RuleConfig(Section):
    """Which drive gets a new file whose path matches; the first rule that does decides."""

    match: values.Pattern = key("**", "Paths in the tree, as in media/tv/**.")
    policy: values.Policy = key("pfrd", "As [placement] policy.")
    path_preserving: bool = key(False, "Prefer drives that hold the folder of the new file already.")
    drives: tuple[str, ...] = key((), "Names of the only drives that get such files.")
    tier: values.Tier = key(None, "Drives of this tier first; others when none of them has room.", "ssd")
    keep_together: Keep | None = key(None, "season or folder: its files go to the drive that has most of it.", "season")
    min_free: values.Size = key(0, "Free space that such files leave on each drive, if that is more than its own.")

    @model_validator(mode="after")
    def _either(self) -> "RuleConfig":
        if self.drives and self.tier is not None:
            raise refuse("It names drives and a tier.", "Name one of the two.", at=("tier",), value=self.tier)
        return self

    def as_rule(self) -> Rule:
        """The rule as `placement` wants it."""
        return Rule(
            self.match,
            self.policy,
            self.path_preserving,
            self.drives,
            self.tier,
            self.keep_together,
            self.min_free,
        )


class MoverConfig(Section):
    """Files that move from one tier to another by themselves, as from an SSD where they arrive to the disks."""

    source: values.Name = Field(description="Tier to move from.", examples=["ssd"])
    target: values.Name = Field(description="Tier to move to.", examples=["hdd"])
    older: values.Seconds = key("1d", "Only what was not changed for so long.")
    above: float = key(0.0, "Only while more than this part of a drive is used, in percent; oldest first.")
    every: values.SomeSeconds = key("1h", "How often that is looked at.")
    rate: values.OwnSize = key(None, "The most bytes a second.", "50MiB")

    @field_validator("above")
    @classmethod
    def _part(cls, above: float) -> float:
        if not 0 <= above <= 100:
            raise refuse("It is no percentage.", "Write a number from 0 to 100.")
        return above

    def as_regular(self) -> Regular:
        """The job as `placement` wants it."""
        spec = {"source": self.source, "target": self.target, "older": self.older, "above": self.above / 100}
        return Regular({**spec, "rate": self.rate, "log": None}, self.every)


class PlacementConfig(Section):
    """Which drive gets a new file."""

    policy: values.Policy = key(
        "pfrd", "ff, mfs, lfs, lus, lup, highwater, round_robin, pfrd or rand; also mergerfs' names, such as epmfs."
    )
    path_preserving: bool = key(False, "Choose only among drives that hold the folder of the new file already.")
    min_free: values.Size = key("1GiB", "Free space that new files leave on each drive.")
    rule: list[RuleConfig] = key([], "Rules for some paths, mostly written as sections [[placement.rule]].")
    mover: list[MoverConfig] = key([], "Moves between tiers, mostly written as sections [[placement.mover]].")
