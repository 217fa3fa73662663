"""Certificates that are about to end."""

import structlog

from metaproxy.assembly.tls import expiries
from metaproxy.clock import Clock, wall
from metaproxy.config import Config

logger = structlog.get_logger("metaproxy")

DAY_SECONDS = 24 * 60 * 60
WARN_DAYS = 14


def warn_of_expiry(config: Config, time: Clock = wall) -> None:
    """Log a warning for each certificate of ``config`` that ends within two weeks, or has ended."""
    for section, end in expiries(config).items():
        days = (end - time()) / DAY_SECONDS
        if days < WARN_DAYS:
            logger.warning(
                "certificate has expired" if days <= 0 else "certificate expires soon",
                section=f"{section}.tls",
                not_after=end,
                days_left=round(days, 1),
            )
