"""C without dependencies from a quantized `Graph`: weights and code of what is shared, once."""

from edgegolf.backends.c.layer import NotInCError
from edgegolf.backends.c.writer import (
    CFiles,
    Optimize,
    Target,
    identifier,
    in_integers,
    unsupported,
    write,
)

__all__ = [
    "CFiles",
    "NotInCError",
    "Optimize",
    "Target",
    "identifier",
    "in_integers",
    "unsupported",
    "write",
]
