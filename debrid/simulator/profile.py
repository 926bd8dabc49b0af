"""The user behind the account: subscription, points, avatar, settings."""

import threading
from collections.abc import Mapping
from types import MappingProxyType

from debrid.simulator.clock import DAY, Clock

_SUBSCRIPTION = 180 * DAY
_CONVERSION = 30 * DAY
_PRICE = 1000  # points
_AVATAR = "https://fcdn.real-debrid.com/images/forum/empty.png"
LARGEST_AVATAR = 1 << 20

_LANGUAGES = MappingProxyType({"eng": "English", "fre": "French", "ger": "German"})
_QUALITIES = ("original", "high", "medium", "low")
_AUDIO = ("aac", "dolby")
# setting_name of POST /settings/update -> allowed values
_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "download_port": ("normal", "secured", "secured_port80"),
        "locale": ("en", "fr", "de"),
        "streaming_language_preference": tuple(_LANGUAGES),
        "streaming_quality": _QUALITIES,
        "mobile_streaming_quality": _QUALITIES,
        "streaming_cast_audio_preference": _AUDIO,
    }
)


class Profile:
    """Everything of the account that is not a torrent or a link."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settings = {name: values[0] for name, values in _CHOICES.items()}
        self._lock = threading.Lock()
        self.expires = clock.now() + _SUBSCRIPTION
        self.points = 2500
        self.avatar = _AVATAR

    @property
    def premium_left(self) -> int:
        """Seconds."""
        return max(0, int(self.expires - self._clock.now()))

    @property
    def locale(self) -> str:
        return self._settings["locale"]

    def update(self, name: str, value: str) -> bool:
        """Change a setting; False if there is no such setting or value."""
        if value not in _CHOICES.get(name, ()):
            return False
        with self._lock:
            self._settings[name] = value
        return True

    def convert_points(self) -> bool:
        """Buy 30 days for 1000 points; False if there are fewer."""
        with self._lock:
            if self.points < _PRICE:
                return False
            self.points -= _PRICE
            self.expires = max(self.expires, self._clock.now()) + _CONVERSION
            return True

    def set_avatar(self, number: int) -> None:
        self.avatar = f"https://fcdn.real-debrid.com/images/forum/{number}.png"

    def drop_avatar(self) -> None:
        self.avatar = _AVATAR

    def settings(self) -> dict[str, object]:
        """The body of GET /settings."""
        chosen = self._settings
        return {
            "download_ports": list(_CHOICES["download_port"]),
            "download_port": chosen["download_port"],
            "locales": {"en": "English", "fr": "Français", "de": "Deutsch"},
            "locale": chosen["locale"],
            "streaming_qualities": list(_QUALITIES),
            "streaming_quality": chosen["streaming_quality"],
            "mobile_streaming_quality": chosen["mobile_streaming_quality"],
            "streaming_languages": dict(_LANGUAGES),
            "streaming_language_preference": chosen["streaming_language_preference"],
            "streaming_cast_audio": list(_AUDIO),
            "streaming_cast_audio_preference": chosen["streaming_cast_audio_preference"],
        }
