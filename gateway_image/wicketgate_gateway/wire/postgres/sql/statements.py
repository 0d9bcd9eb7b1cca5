"""The allow-list of statement nodes: for each, its kind, the classes it adds, and what it does to relations.

A statement node that has no row here gets kind and class `other`. The rows of SELECT, DML, COPY, SET, EXPLAIN and
transactions hold the floor: the handlers of the walk refine them.
"""

from __future__ import annotations

from typing import NamedTuple

from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C
from wicketgate_gateway.wire.postgres.sql.model import StatementKind as K


class Row(NamedTuple):
    """One statement node: `writes` says whether relations named in it (outside of queries) are its targets."""

    kind: K
    classes: frozenset[C]
    writes: bool = True


def _row(kind: K, *classes: C, writes: bool = True) -> Row:
    return Row(kind, frozenset(classes), writes)


_DDL = _row(K.DDL, C.DDL)
_CODE = _row(K.DDL, C.DDL, C.PROCEDURAL)
_ADMIN_DDL = _row(K.DDL, C.DDL, C.ADMIN)
_FOREIGN = _row(K.DDL, C.DDL, C.ADMIN, C.EXTERNAL)
_ROLE = _row(K.ROLE, C.ROLE, C.ADMIN)

STATEMENTS: dict[str, Row] = {
    "SelectStmt": _row(K.SELECT, C.READ, writes=False),
    "InsertStmt": _row(K.INSERT, C.WRITE),
    "UpdateStmt": _row(K.UPDATE, C.WRITE),
    "DeleteStmt": _row(K.DELETE, C.WRITE),
    "MergeStmt": _row(K.MERGE, C.WRITE),
    "TruncateStmt": _row(K.TRUNCATE, C.WRITE),
    "CopyStmt": _row(K.COPY_OUT),
    # Objects
    "CreateStmt": _DDL,
    "CreateTableAsStmt": _row(K.DDL, C.DDL, C.WRITE),
    "ViewStmt": _DDL,
    "IndexStmt": _DDL,
    "CreateSeqStmt": _DDL,
    "AlterSeqStmt": _DDL,
    "AlterTableStmt": _DDL,
    "CreateSchemaStmt": _DDL,
    "CreateStatsStmt": _DDL,
    "AlterStatsStmt": _DDL,
    "CreateDomainStmt": _DDL,
    "AlterDomainStmt": _DDL,
    "CompositeTypeStmt": _DDL,
    "CreateEnumStmt": _DDL,
    "AlterEnumStmt": _DDL,
    "CreateRangeStmt": _DDL,
    "AlterTypeStmt": _DDL,
    "AlterCollationStmt": _DDL,
    "AlterTSDictionaryStmt": _DDL,
    "AlterTSConfigurationStmt": _DDL,
    "RenameStmt": _DDL,
    "AlterObjectDependsStmt": _DDL,
    "AlterObjectSchemaStmt": _DDL,
    "AlterOwnerStmt": _ADMIN_DDL,
    "DropStmt": _DDL,
    "ReplicaIdentityStmt": _DDL,
    "CommentStmt": _row(K.COMMENT, C.DDL),
    "SecLabelStmt": _row(K.SECURITY_LABEL, C.DDL, C.ADMIN),
    # Code that runs later, or in place of something else
    "CreateFunctionStmt": _CODE,
    "AlterFunctionStmt": _CODE,
    "CreateTrigStmt": _CODE,
    "RuleStmt": _CODE,
    "DefineStmt": _CODE,
    "CreateCastStmt": _CODE,
    "CreateConversionStmt": _CODE,
    "CreateTransformStmt": _CODE,
    "CreateOpClassStmt": _CODE,
    "CreateOpFamilyStmt": _CODE,
    "AlterOpFamilyStmt": _CODE,
    "AlterOperatorStmt": _CODE,
    "CreatePLangStmt": _row(K.DDL, C.DDL, C.ADMIN, C.PROCEDURAL),
    "CreateEventTrigStmt": _row(K.DDL, C.DDL, C.ADMIN, C.PROCEDURAL),
    "AlterEventTrigStmt": _row(K.DDL, C.DDL, C.ADMIN, C.PROCEDURAL),
    "CreateAmStmt": _row(K.DDL, C.DDL, C.ADMIN, C.PROCEDURAL),
    "DoStmt": _row(K.DO, C.PROCEDURAL),
    "CallStmt": _row(K.CALL, C.PROCEDURAL),
    # Rights
    "GrantStmt": _row(K.GRANT, C.GRANT),
    "GrantRoleStmt": _row(K.GRANT, C.GRANT, C.ROLE),
    "AlterDefaultPrivilegesStmt": _row(K.GRANT, C.GRANT),
    "CreatePolicyStmt": _row(K.DDL, C.DDL, C.GRANT),
    "AlterPolicyStmt": _row(K.DDL, C.DDL, C.GRANT),
    "CreateRoleStmt": _ROLE,
    "AlterRoleStmt": _ROLE,
    "AlterRoleSetStmt": _ROLE,
    "DropRoleStmt": _ROLE,
    "DropOwnedStmt": _row(K.ADMIN, C.ADMIN, C.DDL, C.ROLE),
    "ReassignOwnedStmt": _row(K.ADMIN, C.ADMIN, C.DDL, C.ROLE),
    # The server
    "CreateExtensionStmt": _row(K.DDL, C.DDL, C.ADMIN, C.PROCEDURAL),
    "AlterExtensionStmt": _row(K.DDL, C.DDL, C.ADMIN, C.PROCEDURAL),
    "AlterExtensionContentsStmt": _ADMIN_DDL,
    "CreatedbStmt": _ADMIN_DDL,
    "AlterDatabaseStmt": _ADMIN_DDL,
    "AlterDatabaseRefreshCollStmt": _ADMIN_DDL,
    "AlterDatabaseSetStmt": _ADMIN_DDL,
    "DropdbStmt": _ADMIN_DDL,
    "CreateTableSpaceStmt": _row(K.DDL, C.DDL, C.ADMIN, C.FILE),
    "DropTableSpaceStmt": _ADMIN_DDL,
    "AlterTableSpaceOptionsStmt": _ADMIN_DDL,
    "AlterTableMoveAllStmt": _ADMIN_DDL,
    "AlterSystemStmt": _row(K.ADMIN, C.ADMIN, C.FILE),
    "CheckPointStmt": _row(K.CHECKPOINT, C.ADMIN),
    "LoadStmt": _row(K.LOAD, C.ADMIN, C.FILE, C.PROCEDURAL),
    "VacuumStmt": _row(K.VACUUM, C.ADMIN),
    "ClusterStmt": _row(K.VACUUM, C.ADMIN),
    "ReindexStmt": _row(K.VACUUM, C.ADMIN),
    "RefreshMatViewStmt": _row(K.REFRESH, C.WRITE),
    # Other servers
    "CreateFdwStmt": _FOREIGN,
    "AlterFdwStmt": _FOREIGN,
    "CreateForeignServerStmt": _FOREIGN,
    "AlterForeignServerStmt": _FOREIGN,
    "CreateForeignTableStmt": _row(K.DDL, C.DDL, C.EXTERNAL),
    "CreateUserMappingStmt": _FOREIGN,
    "AlterUserMappingStmt": _FOREIGN,
    "DropUserMappingStmt": _FOREIGN,
    "ImportForeignSchemaStmt": _row(K.IMPORT_FOREIGN, C.DDL, C.EXTERNAL),
    "CreatePublicationStmt": _FOREIGN,
    "AlterPublicationStmt": _FOREIGN,
    "CreateSubscriptionStmt": _FOREIGN,
    "AlterSubscriptionStmt": _FOREIGN,
    "DropSubscriptionStmt": _FOREIGN,
    # The session
    "VariableSetStmt": _row(K.SET, C.SESSION),
    "VariableShowStmt": _row(K.SHOW, C.READ),
    "DiscardStmt": _row(K.DISCARD, C.SESSION),
    "TransactionStmt": _row(K.TRANSACTION, C.TRANSACTION),
    "ConstraintsSetStmt": _row(K.TRANSACTION, C.TRANSACTION),
    "LockStmt": _row(K.LOCK, C.LOCK),
    "ListenStmt": _row(K.LISTEN, C.NOTIFY),
    "UnlistenStmt": _row(K.UNLISTEN, C.NOTIFY),
    "NotifyStmt": _row(K.NOTIFY, C.NOTIFY),
    "PrepareStmt": _row(K.PREPARE),
    "ExecuteStmt": _row(K.EXECUTE, C.PREPARED),
    "DeallocateStmt": _row(K.DEALLOCATE, C.SESSION),
    "ExplainStmt": _row(K.EXPLAIN),
    "DeclareCursorStmt": _row(K.DECLARE_CURSOR),
    "FetchStmt": _row(K.FETCH, C.READ),
    "ClosePortalStmt": _row(K.CLOSE_CURSOR, C.READ),
}

# Parts of statements that are statements by their name, or appear within them.
_PARTS = (
    "A_ArrayExpr A_Const A_Expr A_Indices A_Indirection A_Star AccessPriv Alias AlterTableCmd "
    "ATAlterConstraint BoolExpr BitString Boolean BooleanTest CTECycleClause CTESearchClause CaseExpr "
    "CaseWhen CoalesceExpr CollateClause ColumnDef ColumnRef CommonTableExpr Constraint CreateOpClassItem "
    "CurrentOfExpr DefElem Float FuncCall FunctionParameter GroupingFunc GroupingSet IndexElem "
    "InferClause InlineCodeBlock Integer IntoClause JoinExpr JsonAggConstructor JsonArgument JsonArrayAgg "
    "JsonArrayConstructor JsonArrayQueryConstructor JsonBehavior JsonConstructorExpr JsonExpr JsonFormat "
    "JsonFuncExpr JsonIsPredicate JsonKeyValue JsonObjectAgg JsonObjectConstructor JsonOutput "
    "JsonParseExpr JsonReturning JsonScalarExpr JsonSerializeExpr JsonTable JsonTableColumn "
    "JsonTablePathSpec JsonValueExpr List LockingClause MergeSupportFunc MergeWhenClause MinMaxExpr "
    "MultiAssignRef NamedArgExpr NullTest ObjectWithArgs OnConflictClause ParamRef PartitionBoundSpec "
    "PartitionCmd PartitionElem PartitionRangeDatum PartitionSpec PublicationObjSpec PublicationTable "
    "RangeFunction RangeSubselect RangeTableFunc RangeTableFuncCol RangeTableSample RangeVar ResTarget "
    "ReturnStmt ReturningClause ReturningOption RoleSpec RowExpr SQLValueFunction SetToDefault SortBy "
    "StatsElem String SubLink TableLikeClause TriggerTransition TypeCast TypeName VacuumRelation "
    "WindowDef WithClause XmlExpr XmlSerialize "
)
PARTS = frozenset(_PARTS.split())
# Statements whose constants cannot change what they do.
LITERAL_FREE_KINDS = frozenset(
    {K.SELECT, K.INSERT, K.UPDATE, K.DELETE, K.MERGE, K.TRUNCATE, K.TRANSACTION, K.SHOW, K.FETCH, K.CLOSE_CURSOR}
)
