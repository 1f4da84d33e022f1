"""Consumption tax that a store includes in its prices, by store country.

Standard VAT/GST rates of the countries' tax authorities as in force in the second half of 2025 (European Commission,
"VAT rates applied in the Member States"; OECD, "Consumption Tax Trends"). A country that is not listed gives None,
never a guess. Countries whose stores show prices without tax (United States) are listed with 0.
"""

_RATES_PER_MILLE = {
    "US": 0, "HK": 0, "QA": 0, "KW": 0, "BN": 0,
    "AT": 200, "BE": 210, "BG": 200, "HR": 250, "CY": 190, "CZ": 210, "DK": 250, "EE": 240, "FI": 255, "FR": 200,
    "DE": 190, "GR": 240, "HU": 270, "IE": 230, "IT": 220, "LV": 210, "LT": 210, "LU": 170, "MT": 180, "NL": 210,
    "PL": 230, "PT": 230, "RO": 210, "SK": 230, "SI": 220, "ES": 210, "SE": 250,
    "GB": 200, "CH": 81, "NO": 250, "IS": 240, "LI": 81, "RS": 200, "TR": 200, "UA": 200, "GE": 180, "AM": 200,
    "AU": 100, "NZ": 150, "JP": 100, "KR": 100, "SG": 90, "TW": 50, "TH": 70, "VN": 100, "MY": 80, "ID": 110,
    "PH": 120, "IN": 180, "KZ": 120, "UZ": 120, "AE": 50, "SA": 150, "BH": 100, "OM": 50, "IL": 180,
    "ZA": 150, "EG": 140, "KE": 160, "NG": 75, "MX": 160, "CL": 190, "CO": 190, "PE": 180, "UY": 220,
}  # fmt: skip


def included_tax_ppm(country: str | None) -> int | None:
    """Share of a tax-inclusive price that is tax, r/(1+r), in parts per million (spec: events 12.6)."""
    rate = None if country is None else _RATES_PER_MILLE.get(country)
    if rate is None:
        return None
    return (2 * rate * 1_000_000 + 1000 + rate) // (2 * (1000 + rate))
