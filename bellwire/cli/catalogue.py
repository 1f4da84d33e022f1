"""`bellwire product` and `bellwire entitlement`: what is sold, and what it gives access to."""

import click

from bellwire.cli.console import (
    choose_project,
    json_option,
    now_ms,
    open_hub,
    project_option,
    reading,
    say,
    show,
    table,
)
from bellwire.cli.fields import Name
from bellwire.db.catalogue import attach, create_entitlement, create_product, list_entitlements, load_catalogue
from bellwire.model.enums import ProductType

_TYPES = {one.value.lower().replace("_", "-"): one for one in ProductType}


@click.group("product")
def product_group() -> None:
    """Products as the stores and events spell them."""


@product_group.command("add")
@click.argument("product_key", metavar="PRODUCT", type=Name())
@click.option(
    "--type", "type_name", type=click.Choice(list(_TYPES)), default="subscription", show_default=True, help="Its kind."
)
@click.option("--name", default="", help="Name for people.")
@click.option(
    "--entitlement", "identifiers", multiple=True, metavar="IDENTIFIER", help="Grants this one; more than once if many."
)
@project_option
@json_option
def add_product(
    product_key: str, type_name: str, name: str, identifiers: tuple[str, ...], project_id: str | None, as_json: bool
) -> None:
    """Add PRODUCT to the catalogue, or change it: the store's product id, for Google Play SUBSCRIPTION:BASE-PLAN.

    A Google subscription id without a base plan stands for all its plans.
    """
    with open_hub() as hub, hub.engine.begin() as connection:
        project_id = choose_project(connection, project_id)
        product_id = create_product(
            connection,
            project_id=project_id,
            product_key=product_key,
            product_type=_TYPES[type_name],
            display_name=name,
            now_ms=now_ms(),
        )
        for identifier in identifiers:
            attach(connection, project_id=project_id, product_key=product_key, identifier=identifier)
    grants = f" It grants {', '.join(identifiers)}." if identifiers else ""
    say(
        as_json,
        {"id": product_id, "project_id": project_id, "product": product_key, "entitlements": identifiers},
        f"Added product {product_key} ({type_name}) to project {project_id}.{grants}",
    )


@product_group.command("list")
@project_option
@json_option
def list_products(project_id: str | None, as_json: bool) -> None:
    """List the products of a project and what they grant."""
    with open_hub() as hub, reading(hub) as connection:
        catalogue = load_catalogue(connection, choose_project(connection, project_id))
    rows = [
        (
            key,
            kind.value.lower(),
            ", ".join(catalogue.entitlements_of(key)) or "-",
            catalogue.display_names.get(key, ""),
        )
        for key, kind in catalogue.product_types.items()
    ]
    values = [
        {"product": key, "type": kind.value, "entitlements": catalogue.entitlements_of(key)}
        for key, kind in catalogue.product_types.items()
    ]
    lines = table(("PRODUCT", "TYPE", "ENTITLEMENTS", "NAME"), rows, none="No products yet.")
    show(as_json, {"products": values}, lines)


@click.group("entitlement")
def entitlement_group() -> None:
    """Entitlements: what a customer has access to."""


@entitlement_group.command("add")
@click.argument("identifier", type=Name())
@click.option("--name", default="", help="Name for people.")
@click.option(
    "--product", "product_keys", multiple=True, metavar="PRODUCT", help="Granted by this one; more than once if many."
)
@project_option
@json_option
def add_entitlement(
    identifier: str, name: str, product_keys: tuple[str, ...], project_id: str | None, as_json: bool
) -> None:
    """Add the entitlement IDENTIFIER, as apps ask for it, or change it."""
    with open_hub() as hub, hub.engine.begin() as connection:
        project_id = choose_project(connection, project_id)
        entitlement_id = create_entitlement(
            connection, project_id=project_id, identifier=identifier, display_name=name, now_ms=now_ms()
        )
        for product_key in product_keys:
            attach(connection, project_id=project_id, product_key=product_key, identifier=identifier)
    granted = f" {', '.join(product_keys)} grant it." if product_keys else ""
    say(
        as_json,
        {"id": entitlement_id, "project_id": project_id, "identifier": identifier, "products": product_keys},
        f"Added entitlement {identifier} to project {project_id}.{granted}",
    )


@entitlement_group.command("list")
@project_option
@json_option
def list_entitlements_(project_id: str | None, as_json: bool) -> None:
    """List the entitlements of a project."""
    with open_hub() as hub, reading(hub) as connection:
        names = list_entitlements(connection, choose_project(connection, project_id))
    values = [{"identifier": identifier, "name": name} for identifier, name in names.items()]
    show(as_json, {"entitlements": values}, table(("IDENTIFIER", "NAME"), list(names.items()), none="None yet."))
