"""What the built-in detectors look for: one table for the native scanner and its twin.

How this works: most tokens are a *program*: literals and runs of a class of bytes, from a literal that triggers the
look. Others (cards, IBANs, addresses, phone numbers, PEM) have matchers of their own in `detect.rs` and
`detectors_twin.py`, of which this table holds the facts.

Sources: the providers' own pages on token formats (AWS IAM unique identifiers; GitHub, GitLab, Slack, Stripe, Google,
Microsoft, npm, PyPI, SendGrid, Twilio, HashiCorp, …), RFC 7519 (JWT), RFC 7468 (PEM), ISO 13616 (IBAN registry),
ISO/IEC 7812 (issuers' ranges), E.164.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

_LOWER, _UPPER, _DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
_WORD = _LOWER + _UPPER + _DIGITS
CLASSES: dict[str, bytes] = {
    "word": _WORD.encode(),
    "upper": (_UPPER + _DIGITS).encode(),
    "lower": (_LOWER + _DIGITS).encode(),
    "hex": (_DIGITS + "abcdefABCDEF").encode(),
    "digit": _DIGITS.encode(),
    "url": (_WORD + "-_").encode(),
    "dotted": (_WORD + "-_.").encode(),
    "base64": (_WORD + "+/=-_").encode(),
    "lines": (_WORD + "+/=\r\n").encode(),
    "path": (_WORD + "/").encode(),
    "percent": (_WORD + "%+/=-_").encode(),
    "tilde": (_WORD + "~._-").encode(),
    "between": b" \t\"':=>\\",
}
"""Classes of bytes by name."""

ENDLESS = 1 << 30


@dataclass(frozen=True, slots=True)
class Token:
    """One kind of token of the detector `detector`.

    It starts `back` bytes before the end of what `trigger` (a regular expression of fixed width) matches, and `steps`
    follow from there: literals, or (class, least, most). The first `shown` steps are context, which stays readable.
    `apart`: a letter or digit directly before it makes it something else.
    """

    detector: str
    trigger: str
    back: int
    steps: Sequence[bytes | tuple[str, int, int]] = ()
    shown: int = 0
    confirm: str = ""
    apart: bool = False
    matcher: str = "steps"


def _key(prefix: str, cls: str, least: int, most: int = ENDLESS, *, confirm: str = "", apart: bool = False) -> Token:
    """A literal and a run behind it."""
    steps = (prefix.encode(), (cls, least, most))
    return Token("api-key", re.escape(prefix), len(prefix), steps, confirm=confirm, apart=apart)


def _after(name: str, cls: str, least: int) -> Token:
    """A value whose name tells what it is: the name stays."""
    trigger = "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else f"[{c}]" for c in name)
    steps = (("url", len(name), len(name)), ("between", 1, 8), (cls, least, ENDLESS))
    return Token("api-key", trigger, len(name), steps, shown=2)


_COUNTRIES = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18
FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20
LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24
SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
COUNTRIES: dict[str, int] = {entry[:2]: int(entry[2:]) for entry in _COUNTRIES.split()}
"""Length of an IBAN by country (ISO 13616)."""

ISSUERS: tuple[tuple[int, int, int], ...] = tuple(
    (first, last, sum(1 << length for length in lengths))
    for first, last, lengths in (
        (400000, 499999, (13, 16, 19)),  # Visa
        (510000, 559999, (16,)),  # Mastercard
        (222100, 272099, (16,)),
        (340000, 349999, (15,)),  # American Express
        (370000, 379999, (15,)),
        (601100, 601199, range(16, 20)),  # Discover
        (644000, 659999, range(16, 20)),
        (622126, 622925, range(16, 20)),
        (300000, 305999, range(14, 20)),  # Diners Club
        (309500, 309599, range(14, 20)),
        (360000, 369999, range(14, 20)),
        (380000, 399999, range(16, 20)),
        (352800, 358999, range(16, 20)),  # JCB
        (620000, 629999, range(16, 20)),  # UnionPay
        (810000, 817199, range(16, 20)),
        (500000, 509999, range(13, 20)),  # Maestro
        (560000, 589999, range(13, 20)),
        (639000, 639099, range(13, 20)),
        (670000, 679999, range(13, 20)),
        (220000, 220499, range(16, 20)),  # Mir
        (600000, 609999, (16,)),  # RuPay
        (979200, 979299, (16,)),  # Troy
    )
)
"""First and last six digits, and the lengths as bits (ISO/IEC 7812 and the networks' own tables)."""

_IBAN = "(?:[A-Z][A-Z]|[a-z][a-z])[0-9][0-9]"

TOKENS: tuple[Token, ...] = (
    # Cloud providers.
    *(_key(prefix, "upper", 16) for prefix in ("AKIA", "ASIA", "ABIA", "ACCA")),
    _after("aws_secret_access_key", "path", 40),
    _after("secretaccesskey", "path", 40),
    _after("aws_session_token", "base64", 40),
    _key("AIza", "url", 35),
    _key("ya29.", "url", 20),
    _key("GOCSPX-", "url", 20),
    _after("accountkey", "base64", 40),
    _after("sharedaccesskey", "base64", 40),
    Token("api-key", "[?&;]sig=", 4, (b"sig=", ("percent", 40, ENDLESS)), shown=1),
    Token("api-key", "8Q~", 6, (("tilde", 3, 3), b"8Q~", ("tilde", 31, 34))),
    *(_key(prefix, "hex", 64) for prefix in ("dop_v1_", "doo_v1_", "dor_v1_")),
    # Code and packages.
    *(_key(prefix, "word", 36) for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    _key("github_pat_", "url", 40),
    *(
        _key(prefix, "dotted", 20)
        for prefix in ("glpat-", "gldt-", "glrt-", "glptt-", "glft-", "glsoat-", "glcbt-", "glimt-", "glagent-")
    ),
    _key("npm_", "word", 36),
    _key("pypi-", "url", 50),
    _key("rubygems_", "hex", 48),
    _key("dckr_pat_", "url", 27),
    _key("ATATT3", "base64", 60),
    _key("ATBB", "word", 32),
    # Messages and mail.
    *(_key(prefix, "url", 10) for prefix in ("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxc-", "xoxd-")),
    _key("xapp-", "url", 20),
    _key("hooks.slack.com/services/", "path", 20),
    Token("api-key", "SG[.]", 3, (b"SG.", ("url", 16, 64), b".", ("url", 16, 128)), apart=True),
    _key("key-", "hex", 32, apart=True),
    _key("SK", "hex", 32, 32, apart=True),
    _key("AC", "hex", 32, 32, apart=True),
    # Payment and shops.
    *(
        _key(prefix, "word", 16)
        for prefix in (
            "sk_live_",
            "sk_test_",
            "rk_live_",
            "rk_test_",
            "whsec_",
            "sq0atp-",
            "sq0csp-",
            "shpat_",
            "shpss_",
        )
    ),
    # Models.
    *(_key(prefix, "url", 20) for prefix in ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-ant-", "sk-or-")),
    _key("sk-", "word", 32, confirm="mixed", apart=True),
    _key("hf_", "word", 30, apart=True),
    _key("gsk_", "word", 40, apart=True),
    _key("r8_", "word", 37, apart=True),
    # Infrastructure.
    *(_key(prefix, "url", 24) for prefix in ("hvs.", "hvb.", "hvr.")),
    _key("dapi", "hex", 32, apart=True),
    _key("glsa_", "word", 32),
    _key("glc_", "base64", 32),
    _key("NRAK-", "upper", 27),
    _key("PMAK-", "url", 50),
    _key("pul-", "hex", 40),
    _key("tskey-", "url", 20),
    _key("sntrys_", "base64", 40),
    _key("sbp_", "hex", 40),
    _key("lin_api_", "word", 32),
    _key("dp.pt.", "word", 40),
    _key("pscale_tkn_", "url", 32),
    _key("HRKU-", "url", 30),
    _key("EAAC", "word", 100),
    # Private keys.
    Token("private-key", "-----BEGIN ", 11, matcher="pem"),
    Token("private-key", "AGE-SECRET-KEY-1", 16, (b"AGE-SECRET-KEY-1", ("upper", 50, ENDLESS))),
    Token("private-key", "b3BlbnNzaC1rZXktdjE", 19, (b"b3BlbnNzaC1rZXktdjE", ("base64", 40, ENDLESS))),
    Token("private-key", "Private-Lines: ", 15, (b"Private-Lines: ", ("digit", 1, 3), ("lines", 40, ENDLESS)), shown=2),
    # Others.
    Token(
        "jwt",
        "eyJ",
        3,
        (b"eyJ", ("url", 8, ENDLESS), b".", ("url", 8, ENDLESS), b".", ("dotted", 0, ENDLESS)),
        confirm="jwt",
    ),
    Token("card", "[0-9](?:[ -]?[0-9]){12}", 0, matcher="card"),
    Token("iban", _IBAN, 4, matcher="iban"),
    Token("email", "@", 1, matcher="email"),
    Token("phone", "[+][1-9(]", 2, matcher="phone"),
)
