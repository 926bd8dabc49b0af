"""Access tokens, and the state of the OAuth2 flows that give them out."""

import threading
from dataclasses import dataclass

from debrid.simulator.clock import Clock
from debrid.simulator.ids import Ids

PUBLIC_CLIENT = "X245A4XAIBGVM"  # documented: open-source applications have no secret
# An application with its own secret, for the flows that need one.
APP_CLIENT, APP_SECRET = "SIMULATEDAPP", "simulated-app-secret"
DEVICE_SECONDS = 1800
CODE_SECONDS = 600.0


@dataclass(slots=True)
class Device:
    """A device waiting for its user; `approved_at` is a moment, None for never."""

    client_id: str
    user_code: str
    expires: float
    approved_at: float | None
    used: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """What a refresh token or an authorization code stands for."""

    client_id: str
    expires: float


class Tokens:
    """Which tokens open the API, and who may ask for one."""

    def __init__(self, clock: Clock, ids: Ids, private: str) -> None:
        self._clock = clock
        self._ids = ids
        self._access: dict[str, float] = {private: float("inf")}
        self._secrets = {APP_CLIENT: APP_SECRET}
        self._devices: dict[str, Device] = {}
        self._codes: dict[str, Grant] = {}
        self._refresh: dict[str, Grant] = {}
        self._lock = threading.Lock()

    def is_valid(self, token: str) -> bool:
        return self._access.get(token, 0.0) > self._clock.now()

    def disable(self, token: str) -> None:
        self._access.pop(token, None)

    def knows(self, client_id: str) -> bool:
        return client_id == PUBLIC_CLIENT or client_id in self._secrets

    def secret_fits(self, client_id: str, secret: str) -> bool:
        return bool(secret) and self._secrets.get(client_id) == secret

    def new_device(self, client_id: str, approve_after: float | None) -> tuple[str, Device]:
        now = self._clock.now()
        approved = None if approve_after is None else now + approve_after
        device = Device(client_id, self._ids.letters(8), now + DEVICE_SECONDS, approved)
        code = self._ids.letters(52)
        with self._lock:
            self._devices[code] = device
        return code, device

    def approve(self) -> None:
        """The user types every code that is waiting."""
        now = self._clock.now()
        with self._lock:
            for device in self._devices.values():
                if device.approved_at is None or device.approved_at > now:
                    device.approved_at = now

    def device(self, code: str) -> Device | None:
        """A device whose code has not expired."""
        device = self._devices.get(code)
        return device if device and self._clock.now() < device.expires else None

    def is_approved(self, device: Device) -> bool:
        return device.approved_at is not None and device.approved_at <= self._clock.now()

    def new_credentials(self, code: str) -> tuple[str, str]:
        """A client id and secret bound to the user; the device's code goes on under the new id."""
        client_id, secret = self._ids.new(), self._ids.letters(40).lower()
        with self._lock:
            self._secrets[client_id] = secret
            self._devices[code].client_id = client_id
        return client_id, secret

    def new_code(self, client_id: str) -> str:
        """An authorization code for the redirect of the three-legged flow."""
        code = self._ids.letters(26)
        with self._lock:
            self._codes[code] = Grant(client_id, self._clock.now() + CODE_SECONDS)
        return code

    def redeem(self, grant_type: str, client_id: str, code: str, seconds: float) -> tuple[str, str] | None:
        """An access token that lives `seconds`, and a refresh token, for any of the three kinds of code."""
        with self._lock:
            if not self._accepts(grant_type, client_id, code):
                return None
            access = self._ids.letters(52)
            self._access[access] = self._clock.now() + seconds
            refresh = code if code in self._refresh else self._ids.letters(52)
            self._refresh[refresh] = Grant(client_id, float("inf"))
            return access, refresh

    def _accepts(self, grant_type: str, client_id: str, code: str) -> bool:
        now = self._clock.now()
        if grant_type == "authorization_code":
            grant = self._codes.pop(code, None)
            return grant is not None and grant.client_id == client_id and now < grant.expires
        if code in self._refresh:
            return self._refresh[code].client_id == client_id
        device = self._devices.get(code)
        if device is None or device.used or device.client_id != client_id or now >= device.expires:
            return False
        device.used = self.is_approved(device)
        return device.used
