"""What the environment says is checked once, at the start, and told by the variable's name."""

import pytest

from bellwire.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "many", "expected `int`"),
        ("PORT", "65536", "<= 65535"),
        ("PORT", "-1", ">= 0"),
        ("HOST", "", "length >= 1"),
        ("PUBLIC_URL", "events.example.com", "https://"),
        ("PUBLIC_URL", "https://events.example.com/hub", "no path"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("LOG_JSON", "perhaps", "expected `bool`"),
        ("DELIVERY_TIMEOUT_S", "0", "> 0"),
        ("DELIVERY_CONCURRENCY", "0", ">= 1"),
        ("SESSION_HOURS", "0", ">= 1"),
    ],
)
def test_unusable_value(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({f"BELLWIRE_{name}": value})
    message = str(refused.value)
    assert message.startswith(f"BELLWIRE_{name} is not usable: ")
    assert said in message
    assert "\n" not in message


def test_public_url_ends_without_a_slash() -> None:
    for text in ("https://events.example.com", "https://events.example.com/"):
        settings = load_settings({"BELLWIRE_PUBLIC_URL": text})
        assert settings.resolved_public_url() == "https://events.example.com"


def test_unknown_name_stops_the_start() -> None:
    with pytest.raises(SettingsError, match=r"BELLWIRE_PROT; known are: .*BELLWIRE_PORT"):
        load_settings({"BELLWIRE_PROT": "1"})
