"""WHAT is proved: checkpoints, fixed point, manifests, layout, statement graphs.

numpy and onnx only; no secrets, no network.
"""
