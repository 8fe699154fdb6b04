"""Formulas on 64-bit words, written in Python and traced into LLVM code.

A traced formula looks to numba like one instruction. numba's own inlining costs seconds of compile time for each
product in K; tracing costs milliseconds, and LLVM still vectorises the loops that call the formula because no call
remains.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


class Word:
    """An unsigned 64-bit value (arithmetic wraps) or a condition in the function being compiled, or a vector of these.
    Vectors of 32-bit values are understood too, but for `below` and `choose`."""

    __slots__ = ("_builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder = builder
        self.value = value

    def _emit(self, instruction: str, other: Word | int) -> Word:
        return Word(self._builder, getattr(self._builder, instruction)(self.value, self._operand(other)))

    def _operand(self, other: Word | int) -> Any:
        return other.value if isinstance(other, Word) else self._literal(other)

    def _literal(self, value: int) -> Any:
        kind = self.value.type
        return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)

    def __add__(self, other: Word | int) -> Word:
        return self._emit("add", other)

    def __sub__(self, other: Word | int) -> Word:
        return self._emit("sub", other)

    def __mul__(self, other: Word | int) -> Word:
        return self._emit("mul", other)

    def __and__(self, other: Word | int) -> Word:
        return self._emit("and_", other)

    def __or__(self, other: Word | int) -> Word:
        return self._emit("or_", other)

    def __xor__(self, other: Word | int) -> Word:
        return self._emit("xor", other)

    def __lshift__(self, bits: int) -> Word:
        return self._emit("shl", bits)

    def __rshift__(self, bits: int) -> Word:
        return self._emit("lshr", bits)

    def below(self, other: Word | int) -> Word:
        """The condition self < other, unsigned."""
        return Word(self._builder, self._builder.icmp_unsigned("<", self.value, self._operand(other)))

    def choose(self, yes: int, no: int) -> Word:
        """`yes` where this condition holds, else `no`; no branch."""
        kind = self.value.type
        if isinstance(kind, ir.VectorType):
            words = ir.VectorType(_I64, kind.count)
            options = [ir.Constant(words, [value] * kind.count) for value in (yes, no)]
        else:
            options = [ir.Constant(_I64, value) for value in (yes, no)]
        return Word(self._builder, self._builder.select(self.value, *options))

    def constant(self, value: int) -> Word:
        """A constant as a Word of the same function."""
        return Word(self._builder, self._literal(value))


def traced(results: int) -> Callable[[Callable[..., Any]], Any]:
    """Make a function of Words, returning one Word or a tuple of `results` Words, callable from numba code.

    Arguments are uint64 there; other integers are converted (signed ones in two's complement).
    """

    def wrap(formula: Callable[..., Any]) -> Any:
        names = list(inspect.signature(formula).parameters)
        returned = types.uint64 if results == 1 else types.UniTuple(types.uint64, results)
        signature = returned(*[types.uint64] * len(names))

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            result = formula(*(Word(builder, value) for value in values))
            if results == 1:
                return result.value
            return context.make_tuple(builder, signature.return_type, [word.value for word in result])

        def define(typing_context: Any, *words: Any) -> Any:
            return signature, emit

        return _intrinsic(define, formula, ["typing_context", *names])

    return wrap


def traced_rows(rows: int) -> Callable[[Callable[..., Any]], Any]:
    """Make a formula of `rows` Words and further scalar Words work on rows of an array, in place, for numba code.

    The function made takes (array uint64 (n, 8 or 4), row indices, scalars): the formula sees every row as one vector.
    """

    def wrap(formula: Callable[..., Any]) -> Any:
        names = list(inspect.signature(formula).parameters)

        def apply(builder: Any, data: Any, values: Any, lanes: int) -> None:
            vector = ir.VectorType(_I64, lanes)
            pointers, words = [], []
            for index in values[:rows]:
                first = builder.gep(data, [builder.mul(index, ir.Constant(_I64, lanes))])
                pointers.append(builder.bitcast(first, vector.as_pointer()))
                words.append(Word(builder, builder.load(pointers[-1], align=8)))
            for scalar in values[rows:]:
                single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
                zeros = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
                words.append(Word(builder, builder.shuffle_vector(single, single, zeros)))
            for pointer, word in zip(pointers, formula(*words), strict=True):
                builder.store(word.value, pointer, align=8)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, values[0])
            width = builder.extract_value(array.shape, 1)
            with builder.if_else(builder.icmp_unsigned("==", width, ir.Constant(_I64, 8))) as (eight, four):
                with eight:
                    apply(builder, array.data, values[1:], 8)
                with four:
                    apply(builder, array.data, values[1:], 4)
            return context.get_dummy_value()

        def define(typing_context: Any, array: Any, *words: Any) -> Any:
            return types.void(array, *[types.int64] * rows, *[types.uint64] * (len(names) - rows)), emit

        return _intrinsic(define, formula, ["typing_context", "array", *names])

    return wrap


def traced_columns(lanes: int, target_rows: int, source_rows: int) -> Callable[[Callable[..., Any]], Any]:
    """Make a formula of two lists of Words update the rows of an array, `lanes` columns at a time, for numba code.

    The function made takes (target, source, first column), C-contiguous uint32 arrays of equal width: the formula sees
    each row of either as one vector of 32-bit words, and returns the new rows of the target.
    """
    vector = ir.VectorType(_I32, lanes)

    def wrap(formula: Callable[..., Any]) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            lists, pointers = [], []
            for kind, value, rows in zip(signature.args, values, (target_rows, source_rows), strict=False):
                array = context.make_array(kind)(context, builder, value)
                width = builder.extract_value(array.shape, 1)
                own = []
                for row in range(rows):
                    index = builder.add(builder.mul(width, ir.Constant(_I64, row)), values[2])
                    own.append(builder.bitcast(builder.gep(array.data, [index]), vector.as_pointer()))
                pointers.append(own)
                lists.append([Word(builder, builder.load(pointer, align=4)) for pointer in own])
            for pointer, word in zip(pointers[0], formula(*lists), strict=True):
                builder.store(word.value, pointer, align=4)
            return context.get_dummy_value()

        def define(typing_context: Any, target: Any, source: Any, first: Any) -> Any:
            return types.void(target, source, types.int64), emit

        return _intrinsic(define, formula, ["typing_context", "target", "source", "first"])

    return wrap


def _intrinsic(define: Callable[..., Any], formula: Callable[..., Any], names: list[str]) -> Any:
    """Register with numba, which reads the parameters' names from the signature (it cannot fold *words)."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in names]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    define.__name__ = formula.__name__
    return intrinsic(define)
