"""Statement graphs verified with the library ezkl: Halo2 over BN254 with KZG commitments.

ezkl is optional (`weightproof[ezkl]`), states no licence, and needs a structured reference string. It runs in a child
process with limits; nothing here imports it.
"""
