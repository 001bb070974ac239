//! One `CREATE TABLE` statement: its text goes in, Arrow columns and key come out.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::{ContextProvider, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, ColumnDef, CreateTable, Expr, TableConstraint, TimezoneInfo,
};

use super::TableDefinition;
use crate::{Error, Result};

/// The item field of every list type in the schemas: nullable, named `item`.
pub fn list_item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, true))
}

/// Parses one `CREATE TABLE` statement.
///
/// # Errors
/// [`Error::Schema`] if the text is anything else, names no columns, uses a type the planner does not
/// know, or has a primary key over columns it does not declare.
pub fn parse_create_table(ddl: &str) -> Result<TableDefinition> {
    let fail = |table: &str, reason: String| Error::Schema {
        table: table.to_owned(),
        reason,
    };
    let mut statements =
        DFParser::parse_sql(ddl).map_err(|err| fail("?", err.strip_backtrace()))?;
    let create = match (statements.pop_front(), statements.is_empty()) {
        (Some(Statement::Statement(statement)), true) => match *statement {
            ast::Statement::CreateTable(create) => create,
            other => return Err(fail("?", format!("expected CREATE TABLE, found '{other}'"))),
        },
        _ => return Err(fail("?", "expected one CREATE TABLE statement".to_owned())),
    };
    let CreateTable {
        name,
        columns,
        constraints,
        ..
    } = create;
    let name = name.to_string();
    let schema = arrow_schema(columns).map_err(|err| fail(&name, err.strip_backtrace()))?;
    if schema.fields().is_empty() {
        return Err(fail(&name, "no columns".to_owned()));
    }

    let mut key = Vec::new();
    for constraint in constraints {
        let TableConstraint::PrimaryKey(primary) = constraint else {
            return Err(fail(&name, format!("unexpected constraint '{constraint}'")));
        };
        for column in primary.columns {
            let Expr::Identifier(column) = column.column.expr else {
                return Err(fail(
                    &name,
                    "the primary key is not a list of columns".to_owned(),
                ));
            };
            if schema.field_with_name(&column.value).is_err() {
                return Err(fail(&name, format!("no column '{column}' for the key")));
            }
            key.push(column.value);
        }
    }
    if key.is_empty() {
        return Err(fail(&name, "no primary key".to_owned()));
    }
    Ok(TableDefinition {
        name,
        schema: Arc::new(schema),
        key,
    })
}

/// A planner that maps text to `Utf8`, the string type that Lance stores.
fn ddl_planner(context: &DdlContext) -> SqlToRel<'_, DdlContext> {
    let options = ParserOptions::new().with_map_string_types_to_utf8view(false);
    SqlToRel::new_with_options(context, options)
}

fn arrow_schema(columns: Vec<ColumnDef>) -> Result<Schema, DataFusionError> {
    ddl_planner(&DdlContext::default()).build_schema(columns)
}

/// SQL types that the schemas use and DataFusion's planner does not know.
///
/// They are `FLOAT16`, `T[n]` and `T[]` as lists of nullable `item`s (whatever the planner would name them), and
/// timestamps with time zone as UTC.
#[derive(Debug)]
struct DdlTypes;

impl TypePlanner for DdlTypes {
    fn plan_type_field(
        &self,
        sql_type: &ast::DataType,
    ) -> Result<Option<FieldRef>, DataFusionError> {
        let data_type = match sql_type {
            ast::DataType::Custom(name, modifiers)
                if modifiers.is_empty() && name.to_string().eq_ignore_ascii_case("float16") =>
            {
                DataType::Float16
            }
            ast::DataType::Array(ArrayElemTypeDef::SquareBracket(inner, size)) => {
                let inner = ddl_planner(&DdlContext::default())
                    .build_schema(vec![unnamed_column(inner.as_ref().clone())])?
                    .field(0)
                    .data_type()
                    .clone();
                match size {
                    Some(size) => {
                        let size = i32::try_from(*size).map_err(|_| {
                            DataFusionError::Plan(format!("list size {size} is above 2^31"))
                        })?;
                        DataType::FixedSizeList(list_item(inner), size)
                    }
                    None => DataType::List(list_item(inner)),
                }
            }
            ast::DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

fn unnamed_column(data_type: ast::DataType) -> ColumnDef {
    ColumnDef {
        name: ast::Ident::new("item"),
        data_type,
        options: Vec::new(),
    }
}

/// A planner context that knows only types, because the schemas refer to no table or function.
#[derive(Default)]
struct DdlContext {
    options: ConfigOptions,
}

impl ContextProvider for DdlContext {
    fn get_table_source(
        &self,
        name: TableReference,
    ) -> Result<Arc<dyn TableSource>, DataFusionError> {
        Err(DataFusionError::Plan(format!("no table '{name}' here")))
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(DdlTypes))
    }

    fn get_function_meta(&self, _name: &str) -> Option<Arc<ScalarUDF>> {
        None
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
