"""The two pages, each one file, with policies that let a browser load nothing from elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup
from starlette.responses import HTMLResponse

from art2real.pages.page import render
from art2real.pages.policy import policy
from art2real.study.design import Design
from art2real.study.texts import load_texts


@dataclass(frozen=True)
class Page:
    """A page and its Content-Security-Policy."""

    html: str
    policy: str

    def response(self) -> HTMLResponse:
        return HTMLResponse(self.html, headers={"Content-Security-Policy": self.policy})


def participants_page(
    study: Path, design: Design, total: int, *, open_enrolment: bool, break_every: int, most_ms: int
) -> Page:
    """What all participants open, with its words in all languages of the study.

    Args:
        study: the study's folder, which may have texts of its own.
        design: of it; only its kind and counts get into the page.
        total: positions of a participant.
        open_enrolment: whether the page offers to take part to who has no link.
        break_every: judged trials between breaks.
        most_ms: longest reaction that the server takes, milliseconds.

    Raises:
        UserError: texts of the study are damaged, or some are missing.
    """
    told = {
        "kind": design.kind,
        "open": open_enrolment,
        "total": total,
        "practice": design.practice_each,
        "attention": design.attention_each > 0,
        "break_every": break_every,
        "most_ms": most_ms,
        "texts": load_texts(study, design.languages),
    }
    # `<` would end the element that the words lie in.
    data = Markup(json.dumps(told, ensure_ascii=False).replace("<", "\\u003c"))
    html = render("art2real.study", "page.html.j2", {"data": data})
    return Page(html, policy(html, images="'self' data:"))


@cache
def admin_page() -> Page:
    """The administrator's, which asks for a token."""
    html = render("art2real.study", "admin.html.j2", {})
    return Page(html, policy(html, images="data:"))
