"""The same shop in three styles, which chapter 7 builds and measures."""

from shoplab.shops.business import OUTSIDERS, PRICES
from shoplab.shops.opening import STYLES, Shop, open_shop

__all__ = ["OUTSIDERS", "PRICES", "STYLES", "Shop", "open_shop"]
