"""Country codes: clients send ISO 3166-1 alpha-2 or alpha-3, inside there is only alpha-2."""

import pycountry

_ALPHA_2: dict[str, str] = {country.alpha_3: country.alpha_2 for country in pycountry.countries} | {
    country.alpha_2: country.alpha_2 for country in pycountry.countries
}


def alpha_2(code: str | None) -> str | None:
    """`DE` for `DE`, `de` and `DEU`; None for what is no country."""
    return None if code is None else _ALPHA_2.get(code.strip().upper())
