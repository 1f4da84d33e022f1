"""Many rows in one statement: the same on both databases, whatever their number."""

import sqlalchemy as sa

from bellwire.db.bulk import Bulk, BulkInsert
from bellwire.db.tables import exchange_rates
from bellwire.db.upsert import upsert
from bellwire.model.enums import Store

_RATES = ("currency", "date", "usd_micros", "source")
_COUNTS = (1, 2, 3, 64, 100, 9_000)


def _rows(count: int) -> list[tuple[object, ...]]:
    return [("EUR", f"day-{number}", number, "test") for number in range(count)]


def test_any_number_of_rows(engine: sa.Engine) -> None:
    add = BulkInsert(exchange_rates, _RATES)
    change = Bulk(
        "UPDATE exchange_rates SET usd_micros = usd_micros + column2 FROM {rows} WHERE date = column1",
        (sa.Text(), sa.BigInteger()),
    )
    find = Bulk("SELECT e.date, e.usd_micros FROM {rows} JOIN exchange_rates e ON e.date = column1", (sa.Text(),))
    forget = Bulk("DELETE FROM exchange_rates WHERE date IN (SELECT column1 FROM {rows})", (sa.Text(),))
    for count in _COUNTS:
        with engine.begin() as connection:
            assert add.run(connection, _rows(count)) == count
            assert change.run(connection, [(row[1], 1) for row in _rows(count)]) == count
            found = find.fetch(connection, [(row[1],) for row in _rows(count)])
            assert sorted(tuple(row) for row in found) == sorted((row[1], int(str(row[2])) + 1) for row in _rows(count))
            assert forget.run(connection, [(row[1],) for row in _rows(count)]) == count


def test_no_rows_is_no_statement(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert BulkInsert(exchange_rates, _RATES).run(connection, []) == 0


def test_what_is_there_already_is_left_or_overwritten(engine: sa.Engine) -> None:
    skip = BulkInsert(exchange_rates, _RATES, conflict="DO NOTHING", returning="date")
    with engine.begin() as connection:
        skip.run(connection, _rows(2))
        assert [
            row.date for row in skip.fetch(connection, [("EUR", "day-1", 7, "new"), ("EUR", "day-9", 9, "new")])
        ] == ["day-9"]
        upsert(
            connection,
            exchange_rates,
            [
                {"currency": "EUR", "date": "day-0", "usd_micros": 1, "source": "first"},
                {"currency": "EUR", "date": "day-0", "usd_micros": 2, "source": "last"},
                {"currency": "USD", "date": "day-0", "usd_micros": 3, "source": Store.APP_STORE},
            ],
        )
        stored = connection.execute(
            sa.select(exchange_rates).order_by(exchange_rates.c.currency, exchange_rates.c.date)
        )
        assert [tuple(row) for row in stored] == [
            ("EUR", "day-0", 2, "last"),
            ("EUR", "day-1", 1, "test"),
            ("EUR", "day-9", 9, "new"),
            ("USD", "day-0", 3, "APP_STORE"),
        ]


def test_any_text_and_any_bytes_come_back_as_they_went(engine: sa.Engine) -> None:
    texts = ["", "NULL", "null", '"', "\\", '\\"', "{a,b}", "a,b", "'", "%s", "?", "zwölf €", "\n\t ", "$1", "\\x41"]
    blobs = [b"", b"\x00\xff", b'"\\', bytes(range(256)), b"\\x41"]
    kinds = (sa.Text(), sa.LargeBinary(), sa.BigInteger(), sa.Boolean())
    rows = [(text, blobs[number % len(blobs)], -number, number % 2 == 0) for number, text in enumerate(texts)]
    rows += [(None, None, None, None)]
    back = Bulk("SELECT column1, column2, column3, column4 FROM {rows}", kinds)
    with engine.connect() as connection:
        assert [tuple(row) for row in back.tuples(connection, rows)] == rows
