"""Payment card numbers: the issuers' ranges and Luhn's check digit (ISO/IEC 7812-1)."""

from __future__ import annotations

_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
SHORTEST, LONGEST = 13, 19

_ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (400000, 499999, (13, 16, 19)),  # Visa
    (510000, 559999, (16,)),  # Mastercard
    (222100, 272099, (16,)),  # Mastercard
    (340000, 349999, (15,)),  # American Express
    (370000, 379999, (15,)),  # American Express
    (300000, 305999, (14, 16)),  # Diners Club
    (360000, 369999, (14, 16)),  # Diners Club
    (380000, 399999, (14, 16)),  # Diners Club
    (352800, 358999, (16,)),  # JCB
    (601100, 601199, (16, 19)),  # Discover
    (622126, 622925, (16, 19)),  # UnionPay
    (644000, 659999, (16, 19)),  # Discover
    (500000, 509999, (16,)),  # Maestro
    (560000, 589999, (16,)),  # Maestro
    (670000, 679999, (16,)),  # Maestro
)


def is_card_number(digits: str) -> bool:
    """Whether `digits` (only ASCII digits) are of a length and range that an issuer uses, with a right check digit."""
    if not SHORTEST <= len(digits) <= LONGEST:
        return False
    start = int(digits[:6])
    if not any(low <= start <= high and len(digits) in lengths for low, high, lengths in _ISSUERS):
        return False
    return len(set(digits)) > 1 and has_check_digit(digits)


def has_check_digit(digits: str) -> bool:
    """Whether the last of `digits` is Luhn's check digit of those before."""
    plain = sum(map(int, digits[-1::-2]))
    doubled = sum(_LUHN_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return (plain + doubled) % 10 == 0
