"""The policy pack: `pulumi preview --policy-pack policies/guardrails`. Its rules are plain functions with tests."""

from collections.abc import Callable

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)

from wicketgate.policy.guardrails import GUARDRAILS, Guardrail


def _validate(guardrail: Guardrail) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for violation in guardrail.check(args.resource_type, args.props):
            report(violation, None)

    return validate


PolicyPack(
    name="wicketgate-guardrails",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[
        ResourceValidationPolicy(
            name=g.name,
            description=g.description,
            validate=_validate(g),
            enforcement_level=EnforcementLevel.MANDATORY if g.mandatory else EnforcementLevel.ADVISORY,
        )
        for g in GUARDRAILS
    ],
)
