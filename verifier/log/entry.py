"""What is logged about an attestation: digests, so that the log shows nothing that its owner does not show himself."""

from __future__ import annotations

import hashlib

from circuits.checkpoint.strict_json import dumps
from verifier.attestation.envelope import Envelope

FORMAT = "weightproof/log-entry/v1"


def attestation_entry(envelope: Envelope) -> bytes:
    """The entry of an envelope, recomputed by anyone who has it: type and digests of payload and signature.

    The digests are of the decoded bytes, so an envelope may be written out anew without losing its receipt.
    """
    return dumps(
        {
            "format": FORMAT,
            "payload": {"sha256": hashlib.sha256(envelope.payload).hexdigest()},
            "payloadType": envelope.payload_type,
            "signature": {"sha256": hashlib.sha256(envelope.signature).hexdigest()},
        }
    )
