"""The page at `/`: one file, and a policy that lets the browser load nothing else."""

from __future__ import annotations

from functools import cache

from starlette.responses import HTMLResponse

from art2real.pages.page import render
from art2real.pages.policy import policy


def page_response() -> HTMLResponse:
    """The page. Its own scripts and styles work because the policy names their hashes; no others do."""
    html, allowed = _page()
    return HTMLResponse(html, headers={"Content-Security-Policy": allowed})


@cache
def _page() -> tuple[str, str]:
    html = render("art2real.serving", "page.html.j2", {})
    return html, policy(html, images="blob: data:")
