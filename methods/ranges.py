"""Search ranges of hyper-parameters: the same words in a method's file and in a sweep file.

uniform(0.9, 0.999)            {uniform: [0.9, 0.999]}
log_uniform(1e-4, 0.1)         {log_uniform: [1e-4, 0.1]}
int_uniform(1, 7)              {int_uniform: [1, 7]}
int_log_uniform(1, 64)         {int_log_uniform: [1, 64]}
quantised_uniform(0, 1, 0.1)   {quantised_uniform: [0, 1, 0.1]}
quantised_int_uniform(8, 64, 8) {quantised_int_uniform: [8, 64, 8]}
choice(16, 32, 64)             {choice: [16, 32, 64]}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Value = float | int | str | bool | None

KINDS = (
    "uniform",
    "log_uniform",
    "int_uniform",
    "int_log_uniform",
    "quantised_uniform",
    "quantised_int_uniform",
    "choice",
)


@dataclass(frozen=True)
class Range:
    """One distribution. `arguments` are the numbers (or choices) as written in a sweep file.

    Raises ValueError, in words, where the arguments make no distribution.
    """

    kind: str
    arguments: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such distribution: {self.kind!r}")
        if self.kind == "choice":
            self._check_choices()
        else:
            self._check_numbers()

    def _check_choices(self) -> None:
        if not self.arguments:
            raise ValueError("choice needs at least one value")
        bad = [a for a in self.arguments if not isinstance(a, (int, float, str, bool, type(None)))]
        if bad:
            raise ValueError(f"choice takes numbers, words and booleans, not {bad[0]!r}")
        if len({(type(a), a) for a in self.arguments}) < len(self.arguments):
            raise ValueError("choice lists a value twice")

    def _check_numbers(self) -> None:
        form = "[low, high, step]" if self.quantised else "[low, high]"
        numbers = [a for a in self.arguments if isinstance(a, (int, float)) and not isinstance(a, bool)]
        if len(numbers) < len(self.arguments) or len(numbers) != (3 if self.quantised else 2):
            raise ValueError(f"{self.kind} takes {form}, got {list(self.arguments)}")
        if not all(math.isfinite(n) for n in numbers):
            raise ValueError(f"{self.kind} takes finite numbers, got {list(self.arguments)}")
        if self.integer and any(n != int(n) for n in numbers):
            raise ValueError(f"{self.kind} takes whole numbers, got {list(self.arguments)}")
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got [{self.low}, {self.high}]")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 on a log scale, got {self.low}")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step must be above 0 and at most high - low, got {self.step}")

    @property
    def quantised(self) -> bool:
        return self.kind.startswith("quantised")

    @property
    def integer(self) -> bool:
        return "int" in self.kind.split("_")

    @property
    def log(self) -> bool:
        return "log" in self.kind.split("_")

    @property
    def low(self) -> Any:
        return self.arguments[0]

    @property
    def high(self) -> Any:
        return self.arguments[1]

    @property
    def step(self) -> Any:
        return self.arguments[2] if self.quantised else None

    def contains(self, value: Value) -> bool:
        """Whether `value` may be drawn (up to rounding of the step)."""
        if self.kind == "choice":
            return any(type(a) is type(value) and a == value for a in self.arguments)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        if self.integer and value != int(value):
            return False
        if self.step is None:
            return True
        ticks = (value - self.low) / self.step
        return abs(ticks - round(ticks)) < 1e-6

    def nearest(self, value: Value) -> Value:
        """The allowed value closest to `value`; how a default outside the range becomes a start point."""
        if self.contains(value):
            return int(value) if self.integer else value  # type: ignore[arg-type]
        if self.kind == "choice":
            numbers = [a for a in self.arguments if isinstance(a, (int, float)) and not isinstance(a, bool)]
            if isinstance(value, (int, float)) and not isinstance(value, bool) and numbers:
                return min(numbers, key=lambda a: abs(a - value))
            return self.arguments[0]
        number = float(value) if isinstance(value, (int, float)) else float(self.low)
        number = min(max(number, self.low), self.high)
        if self.step is not None:
            number = self.low + self.step * math.floor((number - self.low) / self.step + 0.5)
            number = number if number <= self.high else number - self.step
        return int(round(number)) if self.integer else float(number)

    def as_yaml(self) -> dict[str, list[Any]]:
        return {self.kind: list(self.arguments)}

    def __str__(self) -> str:
        return f"{self.kind} {list(self.arguments)}"


def uniform(low: float, high: float) -> Range:
    return Range("uniform", (low, high))


def log_uniform(low: float, high: float) -> Range:
    return Range("log_uniform", (low, high))


def int_uniform(low: int, high: int) -> Range:
    return Range("int_uniform", (low, high))


def int_log_uniform(low: int, high: int) -> Range:
    return Range("int_log_uniform", (low, high))


def quantised_uniform(low: float, high: float, step: float) -> Range:
    return Range("quantised_uniform", (low, high, step))


def quantised_int_uniform(low: int, high: int, step: int) -> Range:
    return Range("quantised_int_uniform", (low, high, step))


def choice(*values: Value) -> Range:
    return Range("choice", values)
