//! `function(...).field`, which SQL has and DataFusion's planner lacks.
//!
//! DataFusion plans `column.field` and `expr['field']`. After any other expression, it plans a dot only before a
//! string. The statement is rewritten to that form before it is planned.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Value, VisitMut, VisitorMut};

/// Rewrites every dot before an identifier to a dot before the equivalent string.
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
        // A dot after a name may separate a table from its column.
        if !matches!(root.as_ref(), Expr::Function(_) | Expr::Nested(_)) {
            return ControlFlow::Continue(());
        }
        for access in access_chain {
            if let AccessExpr::Dot(field) = access
                && let Expr::Identifier(name) = field
            {
                // Like DataFusion's columns: lower case unless quoted.
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
