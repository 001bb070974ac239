//! `function(...).field`: the dot that SQL has and DataFusion's planner lacks.
//!
//! DataFusion plans `column.field` and `expr['field']`, but of a dot after any other expression only one
//! before a string. The statement is changed to say that before it is planned.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Value, VisitMut, VisitorMut};

/// Writes every dot before an identifier as the dot before a string that means the same.
pub(super) fn name_fields(statement: &mut Statement) {
    match statement {
        Statement::Statement(statement) => {
            let _ = statement.visit(&mut Dots);
        }
        Statement::Explain(explain) => name_fields(&mut explain.statement),
        _ => {}
    }
}

struct Dots;

impl VisitorMut for Dots {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::CompoundFieldAccess { root, access_chain } = expr else {
            return ControlFlow::Continue(());
        };
        // A dot after a name may be that between a table and its column.
        if !matches!(root.as_ref(), Expr::Function(_) | Expr::Nested(_)) {
            return ControlFlow::Continue(());
        }
        for access in access_chain {
            if let AccessExpr::Dot(field) = access
                && let Expr::Identifier(name) = field
            {
                // As DataFusion does it for columns: lower case unless quoted.
                let name = match name.quote_style {
                    None => name.value.to_lowercase(),
                    Some(_) => name.value.clone(),
                };
                *field = Expr::Value(Value::SingleQuotedString(name).into());
            }
        }
        ControlFlow::Continue(())
    }
}
