import dataclasses
import os
from pathlib import Path

import pytest

from wicketgate_gateway.contract.errors import DocumentError
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import (
    Bundle,
    BundledBot,
    BundledPolicy,
    Mask,
    MaskMethod,
    Match,
    Record,
    RecordLevel,
    Rule,
    SqlTerms,
    StatementClass,
    Subjects,
    TargetSelector,
)
from wicketgate_gateway.policy.engine import decide_text
from wicketgate_gateway.policy.load import PolicySet, PolicyStore, load_bundle
from wicketgate_gateway.policy.operation import SessionFacts

TENANT, BOT, OTHER, GROUP, ADMINS = (f"00000000-0000-0000-0000-00000000000{i}" for i in range(5))
TARGET = GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "prod", "zone": "a"})


def policy(name: str, cls: str, **more):
    rules = [Rule(allow=Match(sql=SqlTerms(statements=[StatementClass(cls)])))]
    return BundledPolicy(**{"policy": name, "targets": ["orders-db"], "rules": rules, "groups": {GROUP: "dev"}, **more})


def bundle(*policies: BundledPolicy) -> Bundle:
    return Bundle(tenant=TENANT, policies=list(policies), bots={BOT: BundledBot(name="b", owner="o")})


def bot(**more) -> Principal:
    given = {"groups": frozenset({GROUP}), **more}
    return dataclasses.replace(Principal(PrincipalKind.BOT, TENANT, BOT, BOT, "name", "uti", 4e9), **given)


def test_a_bot_gets_the_policies_of_its_groups_and_its_own_united():
    loaded = PolicySet(
        bundle(
            policy("reads", "read"),
            policy("writes", "write", groups={}, bots={BOT: "b"}),
            policy("admins", "ddl", groups={ADMINS: "admins"}),
            policy("elsewhere", "ddl", targets=["other-db"]),
        )
    )
    found = loaded.for_principal(bot(), "orders-db", TARGET)
    assert found is not None
    assert found.policies == ("reads", "writes")
    assert loaded.groups == {GROUP, ADMINS}
    assert decide_text(found, "SELECT 1; DELETE FROM orders", SessionFacts()).verdict.allowed
    assert not decide_text(found, "DROP TABLE orders", SessionFacts()).verdict.allowed
    own = loaded.for_principal(bot(groups=frozenset()), "orders-db", TARGET)
    assert own is not None
    assert own.policies == ("writes",)


@pytest.mark.parametrize(
    "principal",
    [
        bot(groups=frozenset(), object_id=OTHER),
        bot(groups=frozenset({"dev"})),
        bot(groups=frozenset({ADMINS})),
        bot(tenant=OTHER),
        bot(kind=PrincipalKind.AGENT),
        bot(kind=PrincipalKind.PERSON),
        bot(groups=frozenset(), object_id=OTHER, name=BOT, client_id=BOT),
    ],
)
def test_nobody_else_gets_any(principal: Principal):
    loaded = PolicySet(bundle(policy("reads", "read"), policy("own", "read", groups={}, bots={OTHER[:-1] + "9": "x"})))
    assert loaded.for_principal(principal, "orders-db", TARGET) is None
    assert loaded.for_principal(bot(), "customers-db", TARGET) is None


def test_masks_unite_and_records_are_kept_the_longest():
    mask = [Mask(names=["x"], method=MaskMethod.PARTIAL)]
    stricter = [Mask(names=["x"], method=MaskMethod.NULL)]
    loaded = PolicySet(
        bundle(
            policy("a", "read", mask=mask, record=Record(keep="30d")),
            policy("b", "read", mask=stricter, record=Record(keep="90d")),
        )
    )
    found = loaded.for_principal(bot(), "orders-db", TARGET)
    assert found is not None
    assert found.masks is not None
    assert found.masks.of_label("X") is MaskMethod.NULL
    assert found.record.keep == 90 * 86400


def test_what_was_built_is_kept_per_bot_groups_and_target():
    loaded = PolicySet(bundle(policy("a", "read")))
    first = loaded.for_principal(bot(), "orders-db", TARGET)
    assert loaded.for_principal(bot(token_id="other"), "orders-db", TARGET) is first
    assert loaded.for_principal(bot(groups=frozenset({GROUP, ADMINS})), "orders-db", TARGET) is not first
    relabelled = TARGET.model_copy(update={"labels": {"env": "test"}})
    assert loaded.for_principal(bot(), "orders-db", relabelled) is not first


def test_bots_with_the_same_policies_share_verdicts_unless_a_condition_asks_who_they_are():
    def gates(when: str | None):
        rules = [Rule(allow=Match(sql=SqlTerms(statements=[StatementClass.READ]), **({"when": when} if when else {})))]
        loaded = PolicySet(bundle(policy("a", "read", rules=rules, bots={OTHER: "c"})))
        found = [loaded.for_principal(bot(object_id=oid), "orders-db", TARGET) for oid in (BOT, OTHER)]
        one, other = found
        assert one is not None
        assert other is not None
        return one, other

    one, other = gates(None)
    assert one.cache is other.cache
    assert (one.subject.bot, other.subject.bot) == ("b", "")
    one, other = gates("bot.name == 'b'")
    assert one.cache is not other.cache
    assert decide_text(one, "SELECT 1", SessionFacts()).verdict.allowed
    assert not decide_text(other, "SELECT 1", SessionFacts()).verdict.allowed


def test_bots_with_other_policies_or_targets_share_nothing():
    loaded = PolicySet(
        bundle(policy("a", "read", targets=TargetSelector(kind="postgres")), policy("b", "ddl", groups={ADMINS: "x"}))
    )
    plain = loaded.for_principal(bot(), "orders-db", TARGET)
    more = loaded.for_principal(bot(groups=frozenset({GROUP, ADMINS})), "orders-db", TARGET)
    elsewhere = loaded.for_principal(bot(), "other-db", TARGET)
    assert plain is not None
    assert more is not None
    assert elsewhere is not None
    assert len({id(p.cache) for p in (plain, more, elsewhere)}) == 3
    assert decide_text(more, "DROP TABLE orders", SessionFacts()).verdict.allowed
    assert not decide_text(plain, "DROP TABLE orders", SessionFacts()).verdict.allowed


@pytest.mark.parametrize(
    ("targets", "meant"),
    [
        (["orders-db"], True),
        (["orders"], False),
        ([], False),
        (TargetSelector(kind="postgres"), True),
        (TargetSelector(kind="kubernetes"), False),
        (TargetSelector(labels={"env": "prod"}), True),
        (TargetSelector(labels={"env": "prod", "zone": "b"}), False),
        (TargetSelector(kind="kubernetes", labels={"env": "prod"}), False),
    ],
)
def test_selection_of_targets(targets, meant):
    found = PolicySet(bundle(policy("a", "read", targets=targets))).for_principal(bot(), "orders-db", TARGET)
    assert (found is not None) is meant


def test_a_bundle_that_does_not_compile_is_refused_whole(tmp_path: Path):
    bad = Rule(allow=Match(sql=SqlTerms(statements=[StatementClass.READ]), when="bot.nam == ''"))
    path = tmp_path / "b.json"
    path.write_text(bundle(policy("a", "read"), policy("a", "read"), policy("c", "read", rules=[bad])).render())
    with pytest.raises(DocumentError) as caught:
        load_bundle(path)
    told = [str(p) for p in caught.value.problems]
    assert any("two policies have this name" in p for p in told)
    assert any("undeclared reference to 'bot.nam'" in p for p in told)
    assert all(p.startswith(f"{path}:") for p in told)


def test_one_name_for_two_groups_is_refused_since_conditions_speak_of_names():
    with pytest.raises(DocumentError, match="two groups have this name"):
        PolicySet(bundle(policy("a", "read"), policy("b", "read", groups={ADMINS: "dev"})))


class TestStore:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "bundle.json"
        path.write_text(bundle(policy("a", "read")).render())
        return path

    def test_a_gateway_does_not_start_without_a_bundle(self, tmp_path: Path):
        with pytest.raises(DocumentError, match="no such file"):
            PolicyStore(tmp_path / "missing.json")

    def test_a_changed_file_comes_into_force(self, path: Path):
        loaded, refused = [], []
        store = PolicyStore(path, on_loaded=loaded.append, on_refused=lambda *a: refused.append(a))
        first = store.current
        assert store.refresh() is False
        path.write_text(bundle(policy("a", "read"), policy("b", "write")).render())
        assert store.refresh() is True
        assert store.current is not first
        assert store.current.digest != first.digest
        assert loaded == [store.current]
        assert refused == []

    @pytest.mark.parametrize("content", ["", "{", "policies: []", b"\xff", None])
    def test_a_broken_one_does_not_and_is_told_once(self, path: Path, content):
        refused = []
        store = PolicyStore(path, on_refused=lambda error, current: refused.append((error, current)))
        first = store.current
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert store.refresh() is False
        assert store.refresh() is False
        assert store.current is first
        assert len(refused) == 1
        assert refused[0][1] is first

    def test_it_recovers(self, path: Path):
        store = PolicyStore(path)
        path.write_text("broken: [")
        store.refresh()
        path.write_text(bundle(policy("z", "ddl")).render())
        assert store.refresh() is True

    def test_a_file_swapped_by_a_link_is_seen(self, tmp_path: Path):
        # As Kubernetes does with a ConfigMap.
        for name, cls in (("1", "read"), ("2", "ddl")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "b.json").write_text(bundle(policy("a", cls)).render())
        link = tmp_path / "data"
        link.symlink_to("1")
        store = PolicyStore(link / "b.json")
        (tmp_path / "new").symlink_to("2")
        os.replace(tmp_path / "new", link)
        assert store.refresh() is True

    def test_a_touched_file_changes_nothing(self, path: Path):
        store = PolicyStore(path)
        first = store.current
        os.utime(path, ns=(1, 1))
        assert store.refresh() is False
        assert store.current is first


def test_a_role_in_the_token_is_a_subject_too() -> None:
    everyone = policy("all-bots", "read", groups={}, subjects=Subjects(roles=["Bot.Connect"]))
    policies = PolicySet(bundle(everyone))
    assert policies.for_principal(bot(groups=frozenset(), roles=frozenset({"Bot.Connect"})), "orders-db", TARGET)
    for roles in (frozenset(), frozenset({"Agent.Connect"})):
        assert policies.for_principal(bot(groups=frozenset(), roles=roles), "orders-db", TARGET) is None


def test_full_recording_in_one_policy_holds_for_all() -> None:
    some, all_ = Record(level=RecordLevel.REQUESTS), Record(level=RecordLevel.FULL)
    for levels, level in (((some, some), "requests"), ((some, all_), "full"), ((all_, some), "full")):
        policies = [policy(f"p{i}", "read", record=record) for i, record in enumerate(levels)]
        found = PolicySet(bundle(*policies)).for_principal(bot(), "orders-db", TARGET)
        assert found is not None
        assert found.record.level.value == level
