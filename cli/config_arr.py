"""The [[arr]] sections of the configuration, and the services they stand for."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from cli import values
from cli.section import Section, key
from placement.services.arr import Arr
from placement.services.radarr import Radarr
from placement.services.sonarr import Sonarr

_KINDS: dict[str, type[Arr]] = {"sonarr": Sonarr, "radarr": Radarr}


class ArrConfig(Section):
    """A Sonarr or Radarr that is told what it cannot see; one such section for each."""

    kind: Literal["sonarr", "radarr"] = Field(description="sonarr or radarr.", examples=["sonarr"])
    url: values.Url = Field(
        description="Its address, with its URL base if it has one.", examples=["http://127.0.0.1:8989"]
    )
    api_key: values.ApiKey = Field(description="From its Settings, General.", examples=["YOUR-API-KEY"])
    name: values.Title = key(None, "What messages call it. Default: its kind.", "series")


def services(configured: Iterable[ArrConfig], *, seconds: float = 30.0) -> list[Arr]:
    """The services of these sections, in their order; nothing is asked yet. `seconds`: what a call may take."""
    return [_KINDS[one.kind](one.url, one.api_key.get_secret_value(), one.name, seconds=seconds) for one in configured]
