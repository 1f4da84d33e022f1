"""Templates: one Jinja2 environment, everything escaped."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from bellwire.web.dashboard import words
from bellwire.web.dashboard.caller import Caller

HERE = Path(__file__).parent
STATIC = HERE / "static"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("iso", "utc", "minute", "clock", "ago", "span", "permille", "short_id", "usd", "thousands"):
        environment.filters[name] = getattr(words, name)
    return environment


_ENVIRONMENT = _environment()


def page(caller: Caller, template: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
    """A whole page, or a fragment of one, for a logged-in person."""
    return HTMLResponse(fragment(caller, template, values), status)


def fragment(caller: Caller, template: str, values: Mapping[str, object]) -> str:
    """A template as text."""
    return _ENVIRONMENT.get_template(template).render(_common(caller) | dict(values))


def _common(caller: Caller) -> dict[str, object]:
    """What every template may use."""
    project_id = caller.request.path_params.get("project_id")
    projects = caller.services.config.current().projects
    return {
        "front_end_missing": not (STATIC / "vendor/htmx.min.js").exists(),
        "csrf": caller.session.csrf_token,
        "email": caller.session.email,
        "now": caller.now_ms,
        "projects": list(projects.values()),
        "project": projects.get(str(project_id)),
    }


def error_page(status: int, title: str, message: str, caller: Caller) -> HTMLResponse:
    """A page that says what is wrong; htmx gets the sentence alone, which the page's script shows."""
    if "hx-request" in caller.request.headers:
        return page(caller, "error_text.html", {"message": message}, status)
    return page(caller, "error.html", {"heading": title, "message": message, "here": ""}, status)


def login_page(status: int, *, csrf: str, next_path: str, email: str, error: str) -> HTMLResponse:
    """The only page without a session."""
    values = {"csrf": csrf, "next_path": next_path, "email_given": email, "error": error}
    return HTMLResponse(_ENVIRONMENT.get_template("login.html").render(values), status)
