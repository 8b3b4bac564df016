"""Durations as people read them."""


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units of days, hours and minutes; at least one minute."""
    minutes = round(seconds / 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{max(1, minutes)} min"
