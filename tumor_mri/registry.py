"""Registries: a dictionary of frozen objects by name, which everything else asks."""

from typing import TypeVar

Named = TypeVar("Named")  # a frozen object with a ``name``


def add(registry: dict[str, Named], kind: str, thing: Named) -> Named:
    """Add an object to a registry under its name, and return it; the same again changes nothing.

    Args:
        registry: objects by name.
        kind: what the registry holds, for the text of an error.
        thing: a frozen object with a ``name``.

    Raises:
        ValueError: if a different object has the same name.
    """
    if registry.setdefault(thing.name, thing) != thing:
        raise ValueError(f"there is another {kind} called {thing.name!r}")
    return thing


def named(registry: dict[str, Named], kind: str, name: str) -> Named:
    """The object of a registry with a name.

    Raises:
        ValueError: naming those that are registered.
    """
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}: choose one of {', '.join(registry)}")
    return registry[name]
