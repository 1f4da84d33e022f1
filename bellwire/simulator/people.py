"""Made-up people with phones: who they are, which phone they carry, how they pay and how long they stay."""

import random
from dataclasses import dataclass
from enum import StrEnum

FIRST_NAMES = (
    "Ada", "Amir", "Anouk", "Bruno", "Chidi", "Clara", "Dara", "Elif", "Emil", "Farah", "Goran", "Hana", "Ines", "Ivo",
    "Jamal", "Jonna", "Kaito", "Lena", "Luca", "Maren", "Mei", "Milan", "Nadia", "Noor", "Oskar", "Paula", "Quinn",
    "Rania", "Rui", "Sanna", "Tariq", "Uma", "Vera", "Wim", "Yara", "Zoë",
)  # fmt: skip
LAST_NAMES = (
    "Abebe", "Berg", "Castro", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanova", "Jansen", "Kimura", "Lopez",
    "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Silva", "Tanaka", "Ueda", "Virtanen", "Weber", "Yilmaz",
)  # fmt: skip
COUNTRIES = (("US", "USA", 40), ("DE", "DEU", 12), ("GB", "GBR", 12), ("FR", "FRA", 8), ("JP", "JPN", 8),
             ("BR", "BRA", 8), ("SE", "SWE", 6), ("CA", "CAN", 6))  # fmt: skip
CAMPAIGNS = ("spring_sale", "podcast", "friends", "search_brand")


class Platform(StrEnum):
    """Which phone, and with it which store."""

    IOS = "ios"
    ANDROID = "android"


@dataclass(frozen=True, kw_only=True)
class Person:
    """One customer of the shop. `observer` = their app finishes purchases itself and only reports them."""

    number: int
    platform: Platform
    name: str
    country: str
    country_alpha3: str
    anonymous_id: str
    user_id: str
    device_id: str
    ad_id: str
    campaign: str | None
    observer: bool
    logs_in: bool

    @property
    def email(self) -> str:
        plain = self.name.lower().replace("ë", "e").replace(" ", ".")
        return f"{plain}.{self.number}@example.com"

    @property
    def store_account(self) -> str:
        """Their account at the store: digits."""
        return f"{5_000_000_000 + self.number}"

    def attributes(self, now_ms: int) -> dict[str, dict[str, str | int]]:
        """What the app tells about them, as the SDK would send it."""
        values = {"$email": self.email, "$displayName": self.name}
        values |= {"$idfv": self.device_id} if self.platform is Platform.IOS else {"$gpsAdId": self.ad_id}
        if self.campaign is not None:
            values["$campaign"] = self.campaign
        return {key: {"value": value, "updated_at_ms": now_ms} for key, value in values.items()}


def make_person(number: int, rng: random.Random, platforms: tuple[Platform, ...]) -> Person:
    """Somebody new; the same generator state makes the same person."""
    country, alpha3, _ = rng.choices(COUNTRIES, weights=[weight for *_, weight in COUNTRIES])[0]
    return Person(
        number=number,
        platform=rng.choice(platforms),
        name=f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}",
        country=country,
        country_alpha3=alpha3,
        anonymous_id=f"$RCAnonymousID:{rng.getrandbits(128):032x}",
        user_id=f"user-{number:05d}",
        device_id=_uuid(rng).upper(),
        ad_id=_uuid(rng),
        campaign=rng.choice(CAMPAIGNS) if rng.random() < 0.4 else None,
        observer=rng.random() < 0.15,
        logs_in=rng.random() < 0.7,
    )


def _uuid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], "4" + text[13:16], "a" + text[17:20], text[20:]))
