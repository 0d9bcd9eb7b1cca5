"""`wicketgate policy explain-mask`: for each column of a query's answer where it comes from, its mask, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.policy_simulate import policy_chosen
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy.cases import catalogue_in
from wicketgate_gateway.policy.columns import MaskedColumn, masked_columns, result_columns
from wicketgate_gateway.policy.trial import Trial


def explain_mask(
    sql: str,
    /,
    *,
    target: Annotated[str, Parameter(name=["--target", "-t"])],
    schema: Path,
    bot: str = "some-bot",
    group: tuple[str, ...] = (),
    policy: tuple[Path, ...] = (),
    bundle: Path | None = None,
    config: Path | None = None,
    label: tuple[str, ...] = (),
    json: bool = False,
) -> int:
    """Show for each column of a query's answer where it comes from, how it is masked, and why.

    Parameters
    ----------
    sql
        The query: one statement.
    target
        The target's name.
    schema
        A test file whose `schema` and `views` say which tables there are.
    bot
        Who asks.
    group
        A group that the bot is in; may be repeated.
    policy
        Policy files that apply; may be repeated. Without them and a bundle, those of `policies/access` for the target.
    bundle
        A rendered bundle, instead of policy files.
    config
        The gateway's `gateway.yaml`: its bundle and its targets' labels.
    label
        A label of the target, as `env=prod`; may be repeated.
    json
        One object.

    Returns
    -------
    int
        1 if the statement is denied, else 0.
    """
    found = policy_chosen(target, bot, group, policy, bundle, config, label)
    trial = Trial(found, catalogue_in(schema))
    verdict = trial.decide(sql).verdict
    columns = result_columns(sql, trial.session)
    if columns is None:
        raise WicketgateError(
            "what the columns of this are cannot be told",
            code="columns-untold",
            remedy="write one SELECT, INSERT, UPDATE, DELETE or MERGE, and name the tables in the schema's file",
        )
    plan = verdict.masks if isinstance(verdict.masks, MaskPlan) else None
    shown = masked_columns(columns, plan, found.masks, trial.session)
    denied = verdict.effect is Effect.DENY
    if json:
        output.print_json(
            {
                "verdict": verdict.effect.value,
                "code": verdict.code,
                "reason": verdict.reason,
                "remedy": verdict.remedy,
                "columns": [_plain(column) for column in shown],
            }
        )
    else:
        _print(shown)
        if denied:
            console = output.console()
            console.print(output.clean(f"denied: {verdict.reason}", line=True), style="bold red")
            console.print(output.clean(f"remedy: {verdict.remedy}", line=True))
    return 1 if denied else 0


def _plain(column: MaskedColumn) -> dict[str, object]:
    return {
        "name": column.name,
        "from": list(column.sources),
        "how": column.how,
        "mask": column.method.value if column.method else None,
        "why": column.why,
    }


def _print(columns: list[MaskedColumn]) -> None:
    table = Table("column", "comes from", "how", "mask", "why", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        cells = (
            column.name,
            ", ".join(column.sources) or "-",
            column.how,
            column.method.value if column.method else "plain",
            column.why,
        )
        table.add_row(*(output.clean(cell, line=True) for cell in cells))
    output.console().print(table)
