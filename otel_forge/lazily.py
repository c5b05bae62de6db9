"""Public names of a package that are imported when they are first used: start-up imports the packages, too."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # which type checkers know; the launcher does without the import of typing
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def imported(
    namespace: dict[str, object], homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of the package with this `namespace`.

    `homes` gives the module below the package in which each name is; empty for a name that is itself such a module.
    """
    package = str(namespace["__name__"])

    def get(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{home or name}")
        found = namespace[name] = getattr(module, name) if home else module
        return found

    return get, lambda: sorted({*namespace, *homes})
