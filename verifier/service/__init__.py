"""The regulator's service: commitments and proofs come in over gRPC, signed attestations and log receipts go out."""
