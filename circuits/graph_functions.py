"""The operators of our own domain, with ONNX function bodies, so that any ONNX runtime computes the same integers."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from onnx import helper, numpy_helper

DOMAIN = "weightproof"
DOMAIN_VERSION = 1
OPSET = 18
"""The one version of the standard operators that a statement graph may import."""
TABLE = 65_536
OFFSET = 32_768


@cache
def function_bodies() -> dict[str, onnx.FunctionProto]:
    """The functions by name; a model that uses one carries exactly this body."""
    return {"FloorDiv": _floor_div(), "Histogram": _histogram()}


def opset_imports() -> list[onnx.OperatorSetIdProto]:
    """What every model and every function body imports."""
    return [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]


def _floor_div() -> onnx.FunctionProto:
    """floor(x / divisor), attribute divisor > 0: Div truncates towards zero, so a negative remainder takes one off."""
    divisor = helper.make_node("Constant", [], ["divisor"])
    reference = onnx.AttributeProto(name="value_int", ref_attr_name="divisor", type=onnx.AttributeProto.INT)
    divisor.attribute.append(reference)
    nodes = [
        divisor,
        helper.make_node("Div", ["x", "divisor"], ["truncated"]),
        helper.make_node("Mul", ["truncated", "divisor"], ["multiple"]),
        helper.make_node("Less", ["x", "multiple"], ["below"]),
        helper.make_node("Cast", ["below"], ["one"], to=onnx.TensorProto.INT64),
        helper.make_node("Sub", ["truncated", "one"], ["y"]),
    ]
    return helper.make_function(DOMAIN, "FloorDiv", ["x"], ["y"], nodes, opset_imports()[:1], ["divisor"])


def _histogram() -> onnx.FunctionProto:
    """Counts of -32768 .. 32767 among all entries of x, which must lie there; shape (65536,)."""

    def constant(name: str, value: list[int]) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, np.int64)))

    one = numpy_helper.from_array(np.array([1], np.int64))
    zero = numpy_helper.from_array(np.array([0], np.int64))
    nodes = [
        constant("line", [-1]),
        constant("offset", [OFFSET]),
        constant("cells", [TABLE]),
        helper.make_node("Reshape", ["x", "line"], ["flat"]),
        helper.make_node("Add", ["flat", "offset"], ["rows"]),
        helper.make_node("Shape", ["rows"], ["entries"]),
        helper.make_node("ConstantOfShape", ["entries"], ["ones"], value=one),
        helper.make_node("ConstantOfShape", ["cells"], ["zeros"], value=zero),
        helper.make_node("ScatterElements", ["zeros", "rows", "ones"], ["y"], axis=0, reduction="add"),
    ]
    return helper.make_function(DOMAIN, "Histogram", ["x"], ["y"], nodes, opset_imports()[:1])
