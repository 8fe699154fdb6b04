"""All parties on one machine: `weightproof-prover demo`."""
