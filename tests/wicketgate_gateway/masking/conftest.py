"""Samples for detectors: by detector, what must be found (exactly this), and what must not."""

import pytest

WORD36 = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
HEX32 = "0123456789abcdef0123456789abcdef"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/AB\n-----END RSA PRIVATE KEY-----"


def _split(text: str) -> str:
    # Put together here, so that no file of ours looks as if it held a secret.
    return text.replace("~~", "")


TRUE: dict[str, list[str]] = {
    "api-key": [
        _split("AK~~IAIOSFODNN7EXAMPLE"),
        _split("AS~~IAIOSFODNN7EXAMPLE"),
        _split("gh~~p_") + WORD36,
        _split("github~~_pat_") + WORD36 + "_" + WORD36,
        _split("gl~~pat-") + "abcDEF123_456-789xyz",
        _split("xo~~xb-") + "123456789012-abcdefGHIJ",
        _split("sk~~_live_") + WORD36,
        _split("AI~~zaSy") + "A1234567890abcdefghijklmnopqrstuv",
        _split("np~~m_") + WORD36,
        _split("py~~pi-AgEIcHlwaS5vcmc") + WORD36 + WORD36,
        _split("S~~G.") + "aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "SK" + HEX32,
        _split("hv~~s.") + WORD36,
        _split("sk~~-ant-api03-") + WORD36,
        _split("sk~~-proj-") + WORD36,
        _split("sk~~-") + WORD36 + "ABCDEF123456",
        "abc8Q~" + WORD36[:34],
        _split("h~~f_") + WORD36,
        "dop_v1_" + HEX32 + HEX32,
    ],
    "card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "3782 822463 10005",
        "5555555555554444",
        "2223003122003222",
        "6011111111111117",
        "30569309025904",
        "3530111333300000",
        "6200000000000005",
    ],
    "jwt": [JWT],
    "private-key": [
        PEM,
        PEM.replace("RSA ", ""),
        PEM.replace("RSA", "OPENSSH"),
        PEM.replace("RSA", "ENCRYPTED"),
        PEM.replace("RSA", "EC"),
        PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
        PEM.replace("\n", "\\n"),
    ],
    "iban": ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19", "NO9386011117947"],
    "email": [
        "ann@example.com",
        "first.last+tag@sub.example.co.uk",
        "o'neil_99@example-shop.io",
        "ünal@exämple.de",
        "a@b.cd",
    ],
    "phone": ["+4915123456789", "+49 151 2345 6789", "+1 (212) 555-0100", "+44.20.7946.0958", "+12125550100"],
}
FALSE: dict[str, list[str]] = {
    "api-key": [
        "AKIA",
        "AKIAIOSFODNN7EXAMPL",
        "AKIAiosfodnn7example",
        "ghp_short",
        "sk-learn-is-a-library-for-machine-learning",
        "xSK" + HEX32,
        "task_live_forever",
        "the hvs. of it",
        "8Q~",
    ],
    "card": [
        "4111111111111112",
        "1234567890123456",
        "41111111111111111111111",
        "4111  1111  1111  1111",
        "411111111111",
        "2024-01-02 03:04:05.678901",
        "9111111111111111",
        "411111111111111a1",
    ],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9", "eyJhYWFhYWFhYWFh.eyJhYWFhYWFhYWFh.aaa", "eyJ.eyJ.eyJ", "a.b.c"],
    "private-key": [
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----",
        "PRIVATE KEY",
    ],
    "iban": ["DE89370400440532013001", "DE8937040044053201300", "XX89370400440532013000", "de89"],
    "email": ["ann@localhost", "@example.com", "ann@", "a@b.c", "ann at example.com", "ann@.com"],
    "phone": ["+1234567", "+0123456789", "1 + 23456789x+12345678", "+1234567890123456", "2+12345678", "+49 x 151"],
}


@pytest.fixture(scope="session")
def true_samples() -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, texts in TRUE.items() for text in texts]


@pytest.fixture(scope="session")
def false_samples() -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, texts in FALSE.items() for text in texts]
