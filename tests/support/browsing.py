"""Pages opened in a real browser, with what went wrong on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page


@dataclass
class Opened:
    """A page, and what went wrong on it."""

    page: Page
    requests: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    def unfold(self) -> None:
        """Open whatever is folded."""
        self.page.evaluate("document.querySelectorAll('details').forEach((it) => it.open = true)")


def unhurried(browser: Browser, **options: Any) -> BrowserContext:
    """A context of the browser that waits as long as the machine takes."""
    context = browser.new_context(**options)
    context.set_default_timeout(0)
    return context


@contextmanager
def opened(browser: Browser, path: Path, **options: Any) -> Iterator[Opened]:
    """The page of a file; it fetches nothing, and no script of it fails."""
    context = unhurried(browser, **options)
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda message: found.trouble.append(message.text))
    found.page.on("pageerror", lambda error: found.trouble.append(str(error)))
    found.page.goto(path.as_uri())
    yield found
    assert found.trouble == []
    assert found.requests == [path.as_uri()], "nothing is fetched"
    context.close()
