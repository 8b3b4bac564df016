"""Numbers as text without an exponent, for tables, figures, pages and messages alike."""

from decimal import Decimal


def plain(value: float, significant: int = 6, *, grouped: bool = False) -> str:
    """Return a number with at most so many significant digits: 3e-06 is "0.000003", 1.2e+06 is "1200000".

    If `grouped`, commas stand between thousands.
    """
    number = Decimal(f"{value:.{significant}g}")
    return f"{number:,f}" if grouped else f"{number:f}"
