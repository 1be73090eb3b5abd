"""What a browser may load for a page: its own scripts and styles, by their hashes, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re


def policy(html: str, *, images: str) -> str:
    """The Content-Security-Policy of a page with all scripts and styles inside of it.

    Args:
        html: the page as it is sent; its scripts and styles run because the policy names their hashes.
        images: where pictures may come from, as the policy writes it: `'self'`, `blob: data:`.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes('script', html)}",
            f"style-src {_hashes('style', html)}",
            f"img-src {images}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hashes(element: str, html: str) -> str:
    texts = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
