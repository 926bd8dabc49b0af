"""The system's Chromium, without a window, for tests of pages: what it shows, and what it complains about."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, Request, ViewportSize, sync_playwright

# Widths and heights in CSS pixels: a phone, a tablet, a desktop.
PHONE, TABLET, DESKTOP = (360, 740), (768, 1024), (1280, 900)
SIZES = (PHONE, TABLET, DESKTOP)
_NAMES = ("chromium", "google-chrome")


def chromium() -> str | None:
    """Where the system's is; None for the one that playwright brought, where the system has none (Ubuntu)."""
    # Ubuntu's are pointers to a snap, which no container can run.
    return next(
        (found for name in _NAMES if (found := shutil.which(name)) and "snap" not in str(Path(found).resolve())), None
    )


@dataclass
class Tab:
    """One page of a browser, and whatever it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("requestfailed", self._failed)

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def _failed(self, request: Request) -> None:
        # Who goes on to another page gives up what this one was still loading.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url}: {request.failure}")

    def overflow(self) -> list[str]:
        """What sticks out to the right: the page itself, or elements of it."""
        found: list[str] = self.page.evaluate(
            """() => {
                const root = document.documentElement, wide = root.clientWidth, out = [];
                if (root.scrollWidth > wide) out.push(`page ${root.scrollWidth}`);
                for (const one of document.querySelectorAll("body *")) {
                    const box = one.getBoundingClientRect();
                    if (box.width && box.right > wide + 0.5) out.push(`${one.tagName}.${one.className} ${box.right}`);
                }
                return out;
            }"""
        )
        return found

    def resize(self, size: tuple[int, int], dark: bool) -> None:
        """Another screen."""
        self.page.set_viewport_size(ViewportSize(width=size[0], height=size[1]))
        self.page.emulate_media(color_scheme="dark" if dark else "light")

    def shot(self, file: Path) -> None:
        """All of the page as a picture."""
        self.page.screenshot(path=file, full_page=True)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, until the block ends."""
    with sync_playwright() as playwright:
        # Its sandbox wants rights that containers do not have, and what it shows here is ours.
        made = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield made
        finally:
            made.close()
