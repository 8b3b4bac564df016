"""Numbers as text: their spread decides the digits, zero has no sign, and nothing is printed with an exponent."""

from dataclasses import dataclass

MINUS = "−"
SIGNIFICANT = 3  # digits of a value without a spread
MOST_SIGNIFICANT = 5  # digits of a value, however small its spread is


@dataclass(frozen=True)
class Numbers:
    """How the values of a quantity are printed.

    Attributes:
        factor: From the unit of the records to the one that is printed (100: percent of fractions).
        decimals: Those of a value without a spread; None for three significant digits.
        most_decimals: Those of a value with a spread, at most; None for no limit but five significant digits.
        signed: Whether a positive value has a sign.
        skewed: Whether intervals reach further up than down, as those of ratios do: the lower side decides.
    """

    factor: float = 1.0
    decimals: int | None = None
    most_decimals: int | None = None
    signed: bool = False
    skewed: bool = False

    def one(self, value: float) -> str:
        """Return a value without a spread; no digit before the decimal point is rounded away."""
        value *= self.factor
        return self._text(value, max(0, _decimals(value, SIGNIFICANT)) if self.decimals is None else self.decimals)

    def with_sd(self, value: float, sd: float) -> str:
        """Return a value and its standard deviation, which is left out where it rounds to zero."""
        decimals = self._spread_decimals(value, sd)
        if decimals is None:
            return self.one(value)
        return f"{self._text(self.factor * value, decimals)} ± {_rounded(self.factor * sd, decimals)}"

    def with_bounds(self, value: float, low: float, high: float) -> str:
        """Return a value and its interval, which is left out where half its width rounds to zero."""
        decimals = self._spread_decimals(value, value - low if self.skewed else (high - low) / 2)
        if decimals is None:
            return self.one(value)
        texts = [self._text(self.factor * number, decimals) for number in (value, low, high)]
        return "{} [{}, {}]".format(*texts)

    def _spread_decimals(self, value: float, spread: float) -> int | None:
        """Return the decimals that leave two significant digits of the spread; None if it rounds to zero."""
        value, spread = self.factor * value, self.factor * spread
        if not spread > 0:
            return None
        decimals = _decimals(spread, 2)
        if value:
            decimals = min(decimals, _decimals(value, MOST_SIGNIFICANT))
        if self.most_decimals is not None:
            decimals = min(decimals, self.most_decimals)
        return decimals if round(spread, decimals) else None

    def _text(self, value: float, decimals: int) -> str:
        text = _rounded(abs(value), decimals)
        if not float(text):
            return text
        return f"{MINUS if value < 0 else '+' if self.signed else ''}{text}"


PERCENT = Numbers(100, decimals=1, most_decimals=2)
POINTS = Numbers(100, decimals=1, most_decimals=2, signed=True)
RATIO = Numbers(decimals=2, most_decimals=4, skewed=True)
FIGURES = Numbers()  # of any measured quantity


def count(value: float) -> str:
    """Return a number of whole things."""
    return f"{value:,.0f}"


def _decimals(value: float, significant: int) -> int:
    """Return the decimals with which a value has this many significant digits; negative above them."""
    if not value:
        return 0
    exponent = int(f"{abs(value):.{significant - 1}e}".partition("e")[2])  # after rounding: 9.96 is 10
    return significant - 1 - exponent


def _rounded(value: float, decimals: int) -> str:
    return f"{round(value, decimals):.{max(0, decimals)}f}"
