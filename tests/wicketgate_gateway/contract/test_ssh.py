"""What rules may say of SSH, and what they are told when they say something that means nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from wicketgate_gateway.contract.ssh import SshTerms, pattern_words


@pytest.mark.parametrize(
    "terms",
    [
        {"commands": "uname -a"},
        {"commands": ["systemctl status *", "git-upload-pack '/srv/git/my repo.git'", "rsync --server **"]},
        {"scripts": "cd /srv && make"},
        {"paths": ["/srv/app/**", "~/in/*"], "operations": ["read", "write"]},
        {"paths": "/", "operations": "attributes"},
        {"shell": True},
        {"pty": True},
        {"forward": ["db.internal:5432", "*:443", "[::1]:*"]},
        {"subsystems": "netconf"},
        {"env": ["LANG", "LC_*", "MODE=test"]},
    ],
)
def test_what_means_something_is_taken(terms: dict[str, Any]) -> None:
    SshTerms.model_validate(terms)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({}, "needs at least one of"),
        ({"commands": []}, "empty list"),
        ({"commands": None}, "no value"),
        ({"commands": "**"}, "any command"),
        ({"commands": "a ** b"}, "last word"),
        ({"commands": "a b**"}, "word of its own"),
        ({"commands": "ls; rm"}, "plain word"),
        ({"commands": "echo $HOME"}, "plain word"),
        ({"commands": "echo 'open"}, "does not end"),
        ({"commands": "  "}, "empty command"),
        ({"paths": "srv/app"}, "absolute"),
        ({"paths": "/srv/../etc"}, "once it is resolved"),
        ({"paths": "/srv//etc"}, "once it is resolved"),
        ({"paths": "/srv/**/x"}, "last part"),
        ({"paths": "~root/x"}, "absolute"),
        ({"operations": "read"}, "needs at least one of"),
        ({"shell": False}, "says nothing"),
        ({"forward": "db"}, "host:port"),
        ({"subsystems": "sftp"}, "file by file"),
        ({"env": "A B"}, "variable's name"),
        ({"command": "ls"}, "extra"),
    ],
)
def test_what_means_nothing_is_told(terms: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as told:
        SshTerms.model_validate(terms)
    assert said in str(told.value).lower() or said in str(told.value)


def test_words_of_a_pattern() -> None:
    assert pattern_words("a  'b c' **") == ["a", "b c", "**"]
