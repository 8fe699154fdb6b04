"""Who calls: the SPIFFE id in the client certificate, and the role that the configuration gives it.

Source: SPIFFE-ID, X509-SVID (one URI SAN). TLS has checked the certificate's chain and dates before this is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from verifier.service.errors import AccessError
from verifier.service.settings import KnownIdentity, Role


@dataclass(frozen=True)
class Caller:
    """An authenticated caller."""

    id: str
    role: Role

    @property
    def sees_all(self) -> bool:
        """Regulators and auditors see what every owner has."""
        return self.role != "owner"


class Identities:
    """The callers that are known."""

    def __init__(self, known: Iterable[KnownIdentity]) -> None:
        self._roles: dict[str, Role] = {identity.spiffe: identity.role for identity in known}

    def caller(self, context: Any) -> Caller:
        """The caller of a gRPC call. Raises AccessError."""
        ids = [value.decode("utf-8", "replace") for value in context.auth_context().get("peer_spiffe_id", ())]
        if len(ids) != 1:
            raise AccessError("the client certificate has no SPIFFE id, or several; it needs exactly one URI SAN")
        role = self._roles.get(ids[0])
        if role is None:
            raise AccessError(f"{ids[0]} is not known here; ask the regulator to add it to the configuration")
        return Caller(ids[0], role)

    @staticmethod
    def require(caller: Caller, *roles: Role) -> None:
        """Raises AccessError unless the caller has one of the roles."""
        if caller.role not in roles:
            raise AccessError(f"this takes the role {' or '.join(roles)}; {caller.id} is {caller.role}")
