"""The catalogue of a project: products as events spell them, and the entitlements they grant."""

from collections.abc import Sequence

import sqlalchemy as sa

from bellwire.db import version
from bellwire.db.dialect import insert
from bellwire.db.tables import entitlements, product_entitlements, products
from bellwire.kit.ids import new_public_id
from bellwire.model.enums import ProductType
from bellwire.model.projects import Catalogue


class UnknownEntry(Exception):
    """A product or entitlement that this project does not have; the message names it."""


def create_product(
    connection: sa.Connection,
    *,
    project_id: str,
    product_key: str,
    product_type: ProductType,
    now_ms: int,
    display_name: str = "",
) -> str:
    """Add a product, or change the type and name of the one with this key; returns its id."""
    statement = insert(connection, products).values(
        id=new_public_id("prod"),
        project_id=project_id,
        product_key=product_key,
        product_type=product_type.value,
        display_name=display_name,
        created_at_ms=now_ms,
    )
    statement = statement.on_conflict_do_update(
        index_elements=["project_id", "product_key"],
        set_={"product_type": product_type.value, "display_name": display_name},
    )
    product_id: str = connection.execute(statement.returning(products.c.id)).scalar_one()
    version.bump(connection)
    return product_id


def create_entitlement(
    connection: sa.Connection, *, project_id: str, identifier: str, now_ms: int, display_name: str = ""
) -> str:
    """Add an entitlement, or change the name of the one with this identifier; returns its id."""
    statement = insert(connection, entitlements).values(
        id=new_public_id("entl"),
        project_id=project_id,
        identifier=identifier,
        display_name=display_name,
        created_at_ms=now_ms,
    )
    statement = statement.on_conflict_do_update(
        index_elements=["project_id", "identifier"], set_={"display_name": display_name}
    )
    entitlement_id: str = connection.execute(statement.returning(entitlements.c.id)).scalar_one()
    version.bump(connection)
    return entitlement_id


def attach(connection: sa.Connection, *, project_id: str, product_key: str, identifier: str) -> None:
    """Let a product grant an entitlement; attaching twice changes nothing. Raises UnknownEntry."""
    statement = insert(connection, product_entitlements).values(_pair(connection, project_id, product_key, identifier))
    connection.execute(statement.on_conflict_do_nothing())
    version.bump(connection)


def detach(connection: sa.Connection, *, project_id: str, product_key: str, identifier: str) -> None:
    """Stop a product from granting an entitlement. Raises UnknownEntry."""
    pair = _pair(connection, project_id, product_key, identifier)
    connection.execute(
        sa.delete(product_entitlements).where(
            product_entitlements.c.product_id == pair["product_id"],
            product_entitlements.c.entitlement_id == pair["entitlement_id"],
        )
    )
    version.bump(connection)


def load_catalogue(connection: sa.Connection, project_id: str) -> Catalogue:
    """The catalogue of one project; entitlements of a product in the order in which they were created."""
    granted: dict[str, list[str]] = {}
    for product_key, identifier in connection.execute(
        sa.select(products.c.product_key, entitlements.c.identifier)
        .join_from(product_entitlements, products, product_entitlements.c.product_id == products.c.id)
        .join(entitlements, product_entitlements.c.entitlement_id == entitlements.c.id)
        .where(products.c.project_id == project_id, entitlements.c.project_id == project_id)
        .order_by(products.c.product_key, entitlements.c.created_at_ms, entitlements.c.identifier)
    ):
        granted.setdefault(product_key, []).append(identifier)
    rows: Sequence[sa.Row[*tuple[object, ...]]] = connection.execute(
        sa.select(products).where(products.c.project_id == project_id).order_by(products.c.product_key)
    ).all()
    return Catalogue(
        entitlements_by_product={key: tuple(identifiers) for key, identifiers in granted.items()},
        product_types={row.product_key: ProductType(row.product_type) for row in rows},
        display_names={row.product_key: row.display_name for row in rows if row.display_name},
    )


def list_entitlements(connection: sa.Connection, project_id: str) -> dict[str, str]:
    """Display names by identifier, in the order of creation; those that no product grants too."""
    rows = connection.execute(
        sa.select(entitlements.c.identifier, entitlements.c.display_name)
        .where(entitlements.c.project_id == project_id)
        .order_by(entitlements.c.created_at_ms, entitlements.c.identifier)
    )
    return {row.identifier: row.display_name for row in rows}


def _pair(connection: sa.Connection, project_id: str, product_key: str, identifier: str) -> dict[str, str]:
    product_id = connection.execute(
        sa.select(products.c.id).where(products.c.project_id == project_id, products.c.product_key == product_key)
    ).scalar_one_or_none()
    if product_id is None:
        raise UnknownEntry(f"the project has no product {product_key!r}")
    entitlement_id = connection.execute(
        sa.select(entitlements.c.id).where(
            entitlements.c.project_id == project_id, entitlements.c.identifier == identifier
        )
    ).scalar_one_or_none()
    if entitlement_id is None:
        raise UnknownEntry(f"the project has no entitlement {identifier!r}")
    return {"product_id": product_id, "entitlement_id": entitlement_id}
